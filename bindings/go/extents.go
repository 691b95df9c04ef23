package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// ExtentFlags say what an extent is.
type ExtentFlags uint32

const (
	// Hole: no space is allocated for it.
	Hole ExtentFlags = C.QCOW2BLK_EXTENT_HOLE
	// Zero: it reads as zeroes.
	Zero ExtentFlags = C.QCOW2BLK_EXTENT_ZERO
	// Dirty: a bitmap has it. BitmapStatus alone tells this.
	Dirty ExtentFlags = C.QCOW2BLK_EXTENT_DIRTY
)

// Extent is a range of the disk that is alike.
type Extent struct {
	Offset int64
	Length int64 // never 0
	Flags  ExtentFlags
	// Depth is 0 if no image of the chain has anything there, 1 for the image itself, 2 for its backing file, and so on.
	Depth int
}

// IsZero says whether it reads as zeroes.
func (e Extent) IsZero() bool { return e.Flags&Zero != 0 }

// IsHole says whether no space is allocated for it.
func (e Extent) IsHole() bool { return e.Flags&Hole != 0 }

// IsDirty says whether a bitmap has it.
func (e Extent) IsDirty() bool { return e.Flags&Dirty != 0 }

func extentOf(extent *C.struct_qcow2blk_extent) Extent {
	return Extent{
		Offset: int64(extent.offset),
		Length: int64(extent.length),
		Flags:  ExtentFlags(extent.flags),
		Depth:  int(extent.depth),
	}
}

// extentsAtOnce fit into the smallest buffer.
const extentsAtOnce = smallestBuffer / C.sizeof_struct_qcow2blk_extent

// extentsIn copies what the library has filled in.
func extentsIn(memory *buffer, count int64) []Extent {
	found := unsafe.Slice((*C.struct_qcow2blk_extent)(memory.base), int(count))
	extents := make([]Extent, count)
	for n := range found {
		extents[n] = extentOf(&found[n])
	}
	return extents
}

//export goExtent
func goExtent(number C.uintptr_t, extent *C.struct_qcow2blk_extent) C.int {
	return C.int(cgo.Handle(number).Value().(*walk[Extent]).step(extentOf(extent)))
}
