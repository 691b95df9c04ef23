package qcow2blk

import (
	"syscall"
	"testing"
	"time"
)

func Test465DeviceCheckpoints(t *testing.T) {
	one, two := attach(t, "plain.qcow2"), attach(t, "plain.qcow2")
	must(t, CreateCheckpoint([]*Device{one.Device, two.Device, one.Device}, "monday", uint64(128*kib), 10*time.Second))
	nbdIO(t, one.uri, "write -P 0xd7 1M 256k")
	must(t, two.CreateCheckpoint("tuesday", 0, DefaultTimeout))

	// One of them has that already: so the other does not get it.
	wantErrno(t, CreateCheckpoint([]*Device{one.Device, two.Device}, "tuesday", 0, DefaultTimeout), syscall.EEXIST)
	found, err := one.Checkpoints(DefaultTimeout)
	must(t, err)
	wantCheckpoints(t, found,
		Checkpoint{Name: "monday", SnapshotID: "1", Granularity: uint64(128 * kib), DirtyBytes: 256 * kib, Flags: BitmapRecords})
	found, err = two.Checkpoints(DefaultTimeout)
	must(t, err)
	wantCheckpoints(t, found, Checkpoint{Name: "monday", SnapshotID: "1", Granularity: uint64(128 * kib)},
		Checkpoint{Name: "tuesday", SnapshotID: "2", Granularity: uint64(128 * kib), Flags: BitmapRecords})
	must(t, two.DeleteCheckpoint("monday", DefaultTimeout))
	must(t, two.DeleteCheckpoint("monday", DefaultTimeout))
	wantErrno(t, CreateCheckpoint(nil, "x", 0, DefaultTimeout), syscall.EINVAL)
	must(t, one.Close())
	wantErrno(t, CreateCheckpoint([]*Device{two.Device, one.Device}, "x", 0, DefaultTimeout), syscall.EINVAL)
	_, err = one.Checkpoints(DefaultTimeout)
	wantErrno(t, err, syscall.EINVAL)
	wantErrno(t, one.DeleteCheckpoint("monday", DefaultTimeout), syscall.EINVAL)
	must(t, two.Close())
	wantInInfo(t, one.path, "monday")
	wantInInfo(t, two.path, "tuesday")
}
