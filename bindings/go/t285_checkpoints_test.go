package qcow2blk

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// wantCheckpoints compares all but the dates, which have to be of now.
func wantCheckpoints(t *testing.T, found []Checkpoint, expected ...Checkpoint) {
	t.Helper()
	want(t, "checkpoints", len(found), len(expected))
	for i := range expected {
		if age := time.Since(found[i].Date); age < -time.Minute || age > time.Minute {
			t.Errorf("made %v ago", age)
		}
		expected[i].Date = found[i].Date
		want(t, "checkpoint", found[i], expected[i])
	}
}

func wantInInfo(t *testing.T, path string, names ...string) {
	t.Helper()
	info := run(t, "qemu-img", "info", path)
	for _, name := range names {
		if strings.Count(info, name) < 2 {
			t.Errorf("no snapshot and bitmap %s in %s", name, info)
		}
	}
	mustCheck(t, path)
}

func Test285Checkpoints(t *testing.T) {
	image, path := openCopy(t, "plain.qcow2")
	must(t, image.CreateCheckpoint("monday", uint64(128*kib)))
	_, err := image.WriteAt(filled(9, 256*kib), 40*mib)
	must(t, err)
	must(t, image.CreateCheckpoint("tuesday", 0))
	wantErrno(t, image.CreateCheckpoint("tuesday", 0), syscall.EEXIST)
	wantErrno(t, image.CreateCheckpoint("7", 0), syscall.EINVAL)
	wantErrno(t, image.CreateCheckpoint("x", 1000), syscall.EINVAL)
	wantErrno(t, image.CreateCheckpoint("x\x00y", 0), syscall.EINVAL)
	found, err := image.Checkpoints()
	must(t, err)
	wantCheckpoints(t, found,
		Checkpoint{Name: "monday", SnapshotID: "1", Granularity: uint64(128 * kib), DirtyBytes: 256 * kib},
		Checkpoint{Name: "tuesday", SnapshotID: "2", Granularity: uint64(128 * kib), Flags: BitmapRecords})
	must(t, image.DeleteCheckpoint("tuesday"))
	must(t, image.DeleteCheckpoint("tuesday"))
	found, err = image.Checkpoints()
	must(t, err)
	wantCheckpoints(t, found,
		Checkpoint{Name: "monday", SnapshotID: "1", Granularity: uint64(128 * kib), DirtyBytes: 256 * kib, Flags: BitmapRecords})
	must(t, image.Close())
	_, err = image.Checkpoints()
	wantErrno(t, err, syscall.EINVAL)
	wantErrno(t, image.CreateCheckpoint("x", 0), syscall.EINVAL)
	wantErrno(t, image.DeleteCheckpoint("monday"), syscall.EINVAL)
	wantInInfo(t, path, "monday")
}
