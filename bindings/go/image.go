package qcow2blk

/*
#include "shim.h"
*/
import "C"

import "sync/atomic"

// openImage is what every kind of image has: what can be asked of it, and the two ways to its data that need no queue.
type openImage struct {
	handle handle
	size   atomic.Int64 // a revert may change it
}

// Image is an open image. Its methods may be called from any goroutine at any time.
type Image struct {
	openImage
	engine   *engine
	inFlight budget
}

// Open opens an image and all its backing files. The image is locked as qemu locks it, so that no other program changes
// it. path may be empty if the options have files. The format is never guessed: it is qcow2 unless the option "format"
// says "raw". An internal snapshot is opened with the option "snapshot".
//
// An image that is no longer needed must be closed: what was written since the last flush may be lost otherwise.
func Open(path string, options *Options, flags OpenFlags) (*Image, error) {
	image := &Image{inFlight: budget{free: mostInFlight}}
	// First, so that there is nothing to take back once the image is open.
	joined, err := joinEngine()
	if err != nil {
		return nil, err
	}
	if err := image.open(path, options, C.uint32_t(flags)); err != nil {
		joined.leave()
		return nil, err
	}
	image.engine = joined
	return image, nil
}

func (i *openImage) open(path string, options *Options, flags C.uint32_t) error {
	const op = "open"
	number, done, err := options.borrow(op)
	if err != nil {
		return err
	}
	defer done()
	var cPath *C.char
	if path != "" {
		if cPath, err = cString(op, "the path", path); err != nil {
			return err
		}
		defer freeString(cPath)
	}
	var opened C.uintptr_t
	if err := checked(op, C.q2_image_open(cPath, number, &opened, flags)); err != nil {
		return err
	}
	size, err := check(op, C.q2_image_size(opened))
	if err != nil {
		C.q2_image_close(opened)
		return err
	}
	i.handle.set(opened)
	i.size.Store(size)
	return nil
}

// close says whether the handle is gone. It is not if the library refused because of who called.
func (i *openImage) close() (gone bool, err error) {
	number := i.handle.take()
	err = checked("close", C.q2_image_close(number))
	if isRefused(err) {
		i.handle.set(number)
		return false, err
	}
	return number != 0, err
}

// Close ends all requests, writes everything down and closes the image. Requests that have not begun end with ECANCELED,
// those that have begun are waited for. The image is closed afterwards, whatever the result: an error says that what was
// written since the last flush may be lost. A second Close fails with EINVAL.
func (i *Image) Close() error {
	gone, err := i.close()
	if gone {
		i.engine.leave()
	}
	return err
}

// Size is how many bytes the virtual disk has, a multiple of 512.
func (i *openImage) Size() (int64, error) {
	return check("size", C.q2_image_size(i.handle.get()))
}

// ClusterSize is how large the unit is that the image allocates, a power of two.
func (i *openImage) ClusterSize() (int64, error) {
	return check("cluster size", C.q2_image_cluster_size(i.handle.get()))
}

// IsReadOnly says whether writes are refused with EROFS.
func (i *openImage) IsReadOnly() (bool, error) {
	is, err := check("read-only", C.q2_image_is_read_only(i.handle.get()))
	return is == 1, err
}

// FormatVersion is 2 ("compat=0.10") or 3 ("compat=1.1") of qcow2, and 0 of a raw image.
func (i *openImage) FormatVersion() (int, error) {
	version, err := check("format version", C.q2_image_format_version(i.handle.get()))
	return int(version), err
}

// BackingFile is the name of the backing file, as the image says it; empty if there is none.
func (i *openImage) BackingFile() (string, error) {
	return text("backing file", func(memory *C.char, size C.size_t) C.q2_result {
		return C.q2_image_backing_file(i.handle.get(), memory, size)
	})
}

// InFlight is how many asynchronous requests have not ended.
func (i *openImage) InFlight() (int, error) {
	count, err := check("in flight", C.q2_image_in_flight(i.handle.get()))
	return int(count), err
}
