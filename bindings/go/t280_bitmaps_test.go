package qcow2blk

import (
	"strings"
	"syscall"
	"testing"
)

func dirtyOf(t *testing.T, image *Image, name string) (dirty int64) {
	t.Helper()
	extents, err := image.BitmapStatus(name, 0, 64*mib)
	must(t, err)
	next := int64(0)
	for _, extent := range extents {
		want(t, "offset", extent.Offset, next)
		next += extent.Length
		if extent.IsDirty() {
			dirty += extent.Length
		}
	}
	want(t, "end", next, 64*mib)
	return dirty
}

func Test280BitmapsRecord(t *testing.T) {
	image, path := openCopy(t, "plain.qcow2")
	must(t, image.AddBitmap("monday", uint64(64*kib), 0))
	must(t, image.AddBitmap("week", 0, BitmapDisabled))
	wantErrno(t, image.AddBitmap("week", 0, 0), syscall.EEXIST)
	_, err := image.WriteAt(filled(9, 128*kib), 40*mib)
	must(t, err)
	bitmaps, err := image.Bitmaps()
	must(t, err)
	want(t, "bitmaps", len(bitmaps), 2)
	want(t, "first", bitmaps[0], Bitmap{Name: "monday", Flags: BitmapRecords, Granularity: uint64(64 * kib), DirtyBytes: 128 * kib})
	want(t, "records", bitmaps[0].IsRecording(), true)
	want(t, "second", bitmaps[1].IsRecording(), false)
	want(t, "dirty", dirtyOf(t, image, "monday"), 128*kib)
	must(t, image.DisableBitmap("monday"))
	must(t, image.MergeBitmap("week", "monday"))
	want(t, "merged", dirtyOf(t, image, "week"), 128*kib)
	must(t, image.ClearBitmap("monday"))
	want(t, "cleared", dirtyOf(t, image, "monday"), 0)
	must(t, image.EnableBitmap("monday"))
	_, err = image.WriteAt([]byte{1}, 0)
	must(t, err)
	want(t, "enabled", dirtyOf(t, image, "monday"), 64*kib)
	must(t, image.RemoveBitmap("monday"))
	wantErrno(t, image.RemoveBitmap("monday"), syscall.ENOENT)
	wantErrno(t, image.MergeBitmap("week", "monday"), syscall.ENOENT)
	_, err = image.BitmapStatus("monday", 0, mib)
	wantErrno(t, err, syscall.ENOENT)
	_, err = image.BitmapStatus("week", 64*mib, 1)
	wantErrno(t, err, syscall.EINVAL)
	must(t, image.Close())
	if info := run(t, "qemu-img", "info", path); !strings.Contains(info, "week") {
		t.Errorf("no bitmap in %s", info)
	}
	mustCheck(t, path)
}
