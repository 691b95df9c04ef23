package qcow2blk

/*
#include "shim.h"
*/
import "C"

import "time"

// Snapshots lists the internal snapshots of its image. Of this and of all changes below, timeout is how long requests in
// progress may take, in whole milliseconds.
func (d *Device) Snapshots(timeout time.Duration) ([]Snapshot, error) {
	return listed[Snapshot]("snapshots", func(number C.uintptr_t) C.q2_result {
		return C.q2_device_list_snapshots(d.handle.get(), number, milliseconds(timeout))
	})
}

// Resize gives the disk another size. Without AllowShrink it does not become smaller, and without ForceShrink not while it has
// users.
func (d *Device) Resize(size int64, timeout time.Duration, flags ResizeFlags) error {
	return checked("resize", C.q2_device_resize(d.handle.get(), C.uint64_t(size), milliseconds(timeout), C.uint32_t(flags)))
}

// CreateSnapshot keeps the disk as it is now: all writes that have ended are in the snapshot. The name need not be unique, the
// ID that comes back is.
func (d *Device) CreateSnapshot(name string, timeout time.Duration) (id string, err error) {
	return madeSnapshot(name, func(name, id *C.char, size C.size_t) C.q2_result {
		return C.q2_device_create_snapshot(d.handle.get(), name, id, size, milliseconds(timeout))
	})
}

// DeleteSnapshot forgets a snapshot, by its ID or a name that only one of them has.
func (d *Device) DeleteSnapshot(snapshot string, timeout time.Duration) error {
	return named("delete snapshot", "the snapshot", snapshot, func(snapshot *C.char) C.q2_result {
		return C.q2_device_delete_snapshot(d.handle.get(), snapshot, milliseconds(timeout))
	})
}

// RevertSnapshot makes the disk what it was when a snapshot was made. Its users see other contents at once: without Force it
// fails with EBUSY.
func (d *Device) RevertSnapshot(snapshot string, timeout time.Duration, flags DetachFlags) error {
	return named("revert snapshot", "the snapshot", snapshot, func(snapshot *C.char) C.q2_result {
		return C.q2_device_revert_snapshot(d.handle.get(), snapshot, milliseconds(timeout), C.uint32_t(flags))
	})
}

// Bitmaps lists the persistent bitmaps, in the order of the image.
func (d *Device) Bitmaps(timeout time.Duration) ([]Bitmap, error) {
	return listed[Bitmap]("bitmaps", func(number C.uintptr_t) C.q2_result {
		return C.q2_device_list_bitmaps(d.handle.get(), number, milliseconds(timeout))
	})
}

// AddBitmap adds a bitmap, which records from now on unless the flags have BitmapDisabled. A granularity of 0 is the usual one.
func (d *Device) AddBitmap(name string, granularity uint64, timeout time.Duration, flags BitmapFlags) error {
	return named("add bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_device_add_bitmap(d.handle.get(), name, C.uint64_t(granularity), milliseconds(timeout), C.uint32_t(flags))
	})
}

// RemoveBitmap removes a bitmap, also one that is inconsistent.
func (d *Device) RemoveBitmap(name string, timeout time.Duration) error {
	return named("remove bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_device_remove_bitmap(d.handle.get(), name, milliseconds(timeout))
	})
}

// ClearBitmap clears every bit.
func (d *Device) ClearBitmap(name string, timeout time.Duration) error {
	return named("clear bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_device_clear_bitmap(d.handle.get(), name, milliseconds(timeout))
	})
}

// EnableBitmap has a bitmap record from now on.
func (d *Device) EnableBitmap(name string, timeout time.Duration) error {
	return named("enable bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_device_enable_bitmap(d.handle.get(), name, milliseconds(timeout))
	})
}

// DisableBitmap has a bitmap stay as it is now.
func (d *Device) DisableBitmap(name string, timeout time.Duration) error {
	return named("disable bitmap", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_device_disable_bitmap(d.handle.get(), name, milliseconds(timeout))
	})
}

// MergeBitmap adds the bits of from to those of name.
func (d *Device) MergeBitmap(name, from string, timeout time.Duration) error {
	const op = "merge bitmap"
	cFrom, err := cString(op, "the other name", from)
	if err != nil {
		return err
	}
	defer freeString(cFrom)
	return named(op, "the name", name, func(name *C.char) C.q2_result {
		return C.q2_device_merge_bitmap(d.handle.get(), name, cFrom, milliseconds(timeout))
	})
}
