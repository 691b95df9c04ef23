package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"runtime/cgo"
	"time"
)

// Snapshot is an internal snapshot of an image.
type Snapshot struct {
	ID          string        // as "qemu-img snapshot -l" shows it; unique
	Name        string        // may be that of another snapshot too
	Date        time.Time     // when it was made
	VMClock     time.Duration // how long the guest had run
	VMStateSize uint64        // bytes of saved memory; 0 for a snapshot of the disk alone
	DiskSize    uint64        // bytes of the disk at that time
}

// Snapshots lists the internal snapshots, in the order of the image.
func (i *openImage) Snapshots() ([]Snapshot, error) {
	var found []Snapshot
	w := walk[Snapshot]{visit: func(snapshot Snapshot) bool {
		found = append(found, snapshot)
		return true
	}}
	var err error
	w.run(func(number uintptr) {
		err = checked("snapshots", C.q2_image_list_snapshots(i.handle.get(), C.uintptr_t(number)))
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

//export goSnapshot
func goSnapshot(number C.uintptr_t, snapshot *C.struct_qcow2blk_snapshot) C.int {
	return C.int(cgo.Handle(number).Value().(*walk[Snapshot]).step(Snapshot{
		ID:          C.GoString(snapshot.id),
		Name:        C.GoString(snapshot.name),
		Date:        time.Unix(int64(snapshot.date_seconds), int64(snapshot.date_nanoseconds)),
		VMClock:     time.Duration(snapshot.vm_clock),
		VMStateSize: uint64(snapshot.vm_state_size),
		DiskSize:    uint64(snapshot.disk_size),
	}))
}
