package qcow2blk

/*
#include "shim.h"
*/
import "C"

import "runtime/cgo"

// BitmapFlags say what a bitmap is.
type BitmapFlags uint32

const (
	// BitmapDisabled, of a bitmap that is added: do not record until it is enabled.
	BitmapDisabled BitmapFlags = C.QCOW2BLK_BITMAP_DISABLED
	// BitmapRecords: every write, discard and write of zeroes sets its bits.
	BitmapRecords BitmapFlags = C.QCOW2BLK_BITMAP_RECORDS
	// BitmapInconsistent: of no use, as whoever wrote the image last did not keep it.
	BitmapInconsistent BitmapFlags = C.QCOW2BLK_BITMAP_INCONSISTENT
	// BitmapExported: NBD clients look at it.
	BitmapExported BitmapFlags = C.QCOW2BLK_BITMAP_EXPORTED
)

// Bitmap is a persistent dirty bitmap.
type Bitmap struct {
	Name        string
	Flags       BitmapFlags
	Granularity uint64 // bytes of the disk that a bit stands for
	DirtyBytes  int64  // bytes of the disk that its bits stand for; -1 if nobody can tell
}

// IsRecording says whether it follows every change of the disk.
func (b Bitmap) IsRecording() bool { return b.Flags&BitmapRecords != 0 }

// listed is a call that lists things by a walk.
func listed[T any](op string, list func(number C.uintptr_t) C.q2_result) ([]T, error) {
	var found []T
	w := walk[T]{visit: func(item T) bool {
		found = append(found, item)
		return true
	}}
	var err error
	w.run(func(number uintptr) { err = checked(op, list(C.uintptr_t(number))) })
	if err != nil {
		return nil, err
	}
	return found, nil
}

// named is a call that takes a name.
func named(op, what, name string, call func(name *C.char) C.q2_result) error {
	cName, err := cString(op, what, name)
	if err != nil {
		return err
	}
	defer freeString(cName)
	return checked(op, call(cName))
}

// madeSnapshot is a call that makes a snapshot, and tells its ID.
func madeSnapshot(name string, call func(name, id *C.char, size C.size_t) C.q2_result) (string, error) {
	const size = C.QCOW2BLK_SNAPSHOT_ID_SIZE
	id := (*C.char)(C.calloc(1, size))
	defer freeString(id)
	err := named("create snapshot", "the name", name, func(name *C.char) C.q2_result { return call(name, id, size) })
	return C.GoString(id), err
}

//export goBitmap
func goBitmap(number C.uintptr_t, bitmap *C.struct_qcow2blk_bitmap) C.int {
	return C.int(cgo.Handle(number).Value().(*walk[Bitmap]).step(Bitmap{
		Name:        C.GoString(bitmap.name),
		Flags:       BitmapFlags(bitmap.flags),
		Granularity: uint64(bitmap.granularity),
		DirtyBytes:  int64(bitmap.dirty_bytes),
	}))
}
