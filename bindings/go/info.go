package qcow2blk

/*
#include "shim.h"
*/
import "C"

import "encoding/json"

// Info is what is known of an open image. InfoJSON has all of it, also what a newer library has added.
type Info struct {
	Image    string      `json:"image"`
	Geometry Geometry    `json:"geometry"`
	Chain    []ChainFile `json:"chain"`
	Cache    *Cache      `json:"cache"` // nil if there is none
	Error    string      `json:"error"` // why the image can no longer be written; empty if it can
}

// Geometry is the shape of an image. Of a raw image only Size and ReadOnly are known.
type Geometry struct {
	Size         int64  `json:"size"`
	ReadOnly     bool   `json:"read-only"`
	Version      int    `json:"version"`
	ClusterSize  int64  `json:"cluster-size"`
	RefcountBits int    `json:"refcount-bits"`
	Compression  string `json:"compression"`
	Snapshots    int    `json:"snapshots"`
	FileBytes    int64  `json:"file-bytes"`
}

// ChainFile is one file of the backing chain, which starts with the image itself.
type ChainFile struct {
	Path   string `json:"path"`
	Format string `json:"format"`
	Size   int64  `json:"size"`
	Direct bool   `json:"direct"` // the page cache is bypassed
}

// Cache is how the cache of the image's tables does.
type Cache struct {
	Bytes   int64 `json:"l2-bytes"`
	Hits    int64 `json:"l2-hits"`
	Misses  int64 `json:"l2-misses"`
	Commits int64 `json:"commits"`
}

// InfoJSON is all that is known of the open image, as a JSON object.
func (i *openImage) InfoJSON() (string, error) {
	return text("info", func(memory *C.char, size C.size_t) C.q2_result {
		return C.q2_image_info(i.handle.get(), memory, size)
	})
}

// Info is the common part of InfoJSON.
func (i *openImage) Info() (Info, error) {
	var info Info
	document, err := i.InfoJSON()
	if err == nil {
		err = json.Unmarshal([]byte(document), &info)
	}
	return info, err
}
