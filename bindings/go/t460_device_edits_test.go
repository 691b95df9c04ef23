package qcow2blk

import (
	"syscall"
	"testing"
	"time"
)

func Test460DeviceSnapshots(t *testing.T) {
	device := attach(t, "plain.qcow2")
	id, err := device.CreateSnapshot("one", DefaultTimeout)
	must(t, err)
	want(t, "ID", id, "1")
	snapshots, err := device.Snapshots(10 * time.Second)
	must(t, err)
	want(t, "snapshots", len(snapshots), 1)
	want(t, "name", snapshots[0].Name, "one")
	nbdIO(t, device.uri, "write -P 0xd7 0 64k")
	wantErrno(t, device.RevertSnapshot("one", DefaultTimeout, 0), syscall.EBUSY)
	must(t, device.RevertSnapshot("one", DefaultTimeout, Force))
	nbdIO(t, device.uri, "read -P 1 0 64k")
	must(t, device.DeleteSnapshot("one", DefaultTimeout))
	wantErrno(t, device.DeleteSnapshot("one", DefaultTimeout), syscall.ENOENT)
	must(t, device.Close())
	mustCheck(t, device.path)
}

func Test460DeviceBitmaps(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.AddBitmap("monday", uint64(64*kib), DefaultTimeout, 0))
	must(t, device.AddBitmap("week", 0, DefaultTimeout, BitmapDisabled))
	nbdIO(t, device.uri, "write -P 0xd7 1M 128k")
	bitmaps, err := device.Bitmaps(DefaultTimeout)
	must(t, err)
	want(t, "bitmaps", len(bitmaps), 2)
	want(t, "dirty", bitmaps[0].DirtyBytes, 128*kib)
	must(t, device.DisableBitmap("monday", DefaultTimeout))
	must(t, device.MergeBitmap("week", "monday", DefaultTimeout))
	must(t, device.ClearBitmap("monday", DefaultTimeout))
	must(t, device.EnableBitmap("monday", DefaultTimeout))
	must(t, device.RemoveBitmap("monday", DefaultTimeout))
	bitmaps, err = device.Bitmaps(DefaultTimeout)
	must(t, err)
	want(t, "merged", bitmaps[0].DirtyBytes, 128*kib)
	wantErrno(t, device.RemoveBitmap("monday", DefaultTimeout), syscall.ENOENT)
	must(t, device.Close())
	mustCheck(t, device.path)
}
