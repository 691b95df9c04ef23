package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"runtime/cgo"
	"time"
)

// Checkpoint is a snapshot and a bitmap of the same name: the disk as it was, and what has changed since.
type Checkpoint struct {
	Name        string
	SnapshotID  string      // as "qemu-img snapshot -l" shows it
	Date        time.Time   // when it was made
	Flags       BitmapFlags // of its bitmap: BitmapRecords if it is the last one, BitmapInconsistent
	Granularity uint64      // bytes of the disk that a bit stands for
	DirtyBytes  int64       // bytes of the disk that changed up to the next one; -1 if nobody can tell
}

// Checkpoints lists the checkpoints, the oldest first.
func (i *openImage) Checkpoints() ([]Checkpoint, error) {
	return listed[Checkpoint]("checkpoints", func(number C.uintptr_t) C.q2_result {
		return C.q2_image_list_checkpoints(i.handle.get(), number)
	})
}

// CreateCheckpoint keeps the disk as it is now, and has a bitmap record what changes from now on; that of the checkpoint before stops.
// A granularity of 0 is that of the checkpoint before, or the usual one.
func (i *openImage) CreateCheckpoint(name string, granularity uint64) error {
	return named("create checkpoint", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_image_create_checkpoint(i.handle.get(), name, C.uint64_t(granularity))
	})
}

// DeleteCheckpoint forgets a checkpoint; what changed since is added to the one before. One that is not there is deleted already.
func (i *openImage) DeleteCheckpoint(name string) error {
	return named("delete checkpoint", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_image_delete_checkpoint(i.handle.get(), name)
	})
}

// CreateCheckpoint makes a checkpoint of one or several devices, of one instant: of all of them or of none.
func CreateCheckpoint(devices []*Device, name string, granularity uint64, timeout time.Duration) error {
	const op = "create checkpoint"
	if len(devices) == 0 {
		return invalid(op, "there is no device")
	}
	handles := make([]C.uintptr_t, len(devices))
	for i, device := range devices {
		handles[i] = device.handle.get()
	}
	return named(op, "the name", name, func(name *C.char) C.q2_result {
		return C.q2_devices_create_checkpoint(
			&handles[0], C.size_t(len(handles)), name, C.uint64_t(granularity), milliseconds(timeout))
	})
}

// Checkpoints lists the checkpoints, the oldest first.
func (d *Device) Checkpoints(timeout time.Duration) ([]Checkpoint, error) {
	return listed[Checkpoint]("checkpoints", func(number C.uintptr_t) C.q2_result {
		return C.q2_device_list_checkpoints(d.handle.get(), number, milliseconds(timeout))
	})
}

// CreateCheckpoint makes a checkpoint of this device alone.
func (d *Device) CreateCheckpoint(name string, granularity uint64, timeout time.Duration) error {
	return CreateCheckpoint([]*Device{d}, name, granularity, timeout)
}

// DeleteCheckpoint forgets a checkpoint; what changed since is added to the one before. One that is not there is deleted already.
func (d *Device) DeleteCheckpoint(name string, timeout time.Duration) error {
	return named("delete checkpoint", "the name", name, func(name *C.char) C.q2_result {
		return C.q2_device_delete_checkpoint(d.handle.get(), name, milliseconds(timeout))
	})
}

//export goCheckpoint
func goCheckpoint(number C.uintptr_t, checkpoint *C.struct_qcow2blk_checkpoint) C.int {
	return C.int(cgo.Handle(number).Value().(*walk[Checkpoint]).step(Checkpoint{
		Name:        C.GoString(checkpoint.name),
		SnapshotID:  C.GoString(checkpoint.snapshot_id),
		Date:        time.Unix(int64(checkpoint.date_seconds), int64(checkpoint.date_nanoseconds)),
		Flags:       BitmapFlags(checkpoint.flags),
		Granularity: uint64(checkpoint.granularity),
		DirtyBytes:  int64(checkpoint.dirty_bytes),
	}))
}
