package qcow2blk

/*
#include "shim.h"
*/
import "C"

// Resize gives the disk another size. What is new reads as zeroes; without AllowShrink it does not become smaller. Should the
// image not open again afterwards, all that needs the disk fails with EIO, and the image can only be closed.
func (i *openImage) Resize(size int64, flags ResizeFlags) error {
	err := checked("resize", C.q2_image_resize(i.handle.get(), C.uint64_t(size), C.uint32_t(flags)))
	if size, unknown := i.Size(); unknown == nil {
		i.size.Store(size)
	}
	return err
}

// CreateSnapshot keeps the disk as it is now: all writes that have ended are in the snapshot. The name need not be unique, the
// ID that comes back is.
func (i *openImage) CreateSnapshot(name string) (id string, err error) {
	return madeSnapshot(name, func(name, id *C.char, size C.size_t) C.q2_result {
		return C.q2_image_create_snapshot(i.handle.get(), name, id, size)
	})
}

// DeleteSnapshot forgets a snapshot, by its ID or a name that only one of them has.
func (i *openImage) DeleteSnapshot(snapshot string) error {
	return named("delete snapshot", "the snapshot", snapshot, func(snapshot *C.char) C.q2_result {
		return C.q2_image_delete_snapshot(i.handle.get(), snapshot)
	})
}

// RevertSnapshot makes the disk what it was when a snapshot was made, its size too. What was written since is lost. Should the
// image not open again afterwards, all that needs the disk fails with EIO, and the image can only be closed.
func (i *openImage) RevertSnapshot(snapshot string) error {
	err := named("revert snapshot", "the snapshot", snapshot, func(snapshot *C.char) C.q2_result {
		return C.q2_image_revert_snapshot(i.handle.get(), snapshot)
	})
	if size, unknown := i.Size(); unknown == nil {
		i.size.Store(size)
	}
	return err
}

// Bitmaps lists the persistent bitmaps, in the order of the image.
func (i *openImage) Bitmaps() ([]Bitmap, error) {
	return listed[Bitmap]("bitmaps", func(number C.uintptr_t) C.q2_result {
		return C.q2_image_list_bitmaps(i.handle.get(), number)
	})
}

// AddBitmap adds a bitmap, which records from now on unless the flags have BitmapDisabled. A granularity of 0 is the usual one.
func (i *openImage) AddBitmap(name string, granularity uint64, flags BitmapFlags) error {
	return named("add bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_image_add_bitmap(i.handle.get(), name, C.uint64_t(granularity), C.uint32_t(flags))
	})
}

// RemoveBitmap removes a bitmap, also one that is inconsistent.
func (i *openImage) RemoveBitmap(name string) error {
	return named("remove bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_image_remove_bitmap(i.handle.get(), name)
	})
}

// ClearBitmap clears every bit.
func (i *openImage) ClearBitmap(name string) error {
	return named("clear bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_image_clear_bitmap(i.handle.get(), name)
	})
}

// EnableBitmap has a bitmap record from now on.
func (i *openImage) EnableBitmap(name string) error {
	return named("enable bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_image_enable_bitmap(i.handle.get(), name)
	})
}

// DisableBitmap has a bitmap stay as it is now.
func (i *openImage) DisableBitmap(name string) error {
	return named("disable bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_image_disable_bitmap(i.handle.get(), name)
	})
}

// MergeBitmap adds the bits of from to those of name.
func (i *openImage) MergeBitmap(name, from string) error {
	const op = "merge bitmap"
	cFrom, err := cString(op, "the other name", from)
	if err != nil {
		return err
	}
	defer freeString(cFrom)
	return named(op, "the name", name, func(name *C.char) C.q2_result {
		return C.q2_image_merge_bitmap(i.handle.get(), name, cFrom)
	})
}

// BitmapStatus tells what a bitmap says of a range of the disk: extents in order and without gaps, with Dirty or no flag. All of
// them are of one moment.
func (i *openImage) BitmapStatus(name string, offset, length int64) ([]Extent, error) {
	const op = "bitmap status"
	cName, err := cString(op, "the name", name)
	if err != nil {
		return nil, err
	}
	defer freeString(cName)
	return listed[Extent](op, func(number C.uintptr_t) C.q2_result {
		return C.q2_image_bitmap_status(i.handle.get(), cName, C.uint64_t(offset), C.uint64_t(length), number)
	})
}
