package qcow2blk

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

func Test130SnapshotsAreThoseOfQemu(t *testing.T) {
	image, path := openCopy(t, "snapshots.qcow2")
	snapshots, err := image.Snapshots()
	must(t, err)
	want(t, "snapshots", len(snapshots), 2)
	for n, name := range []string{"before", "after"} {
		want(t, "name", snapshots[n].Name, name)
		want(t, "disk size", snapshots[n].DiskSize, uint64(mib))
		want(t, "state size", snapshots[n].VMStateSize, 0)
		if age := time.Since(snapshots[n].Date); age < 0 || age > 10*365*24*time.Hour {
			t.Errorf("%s was made at %v", name, snapshots[n].Date)
		}
	}
	want(t, "identity", snapshots[0].ID+snapshots[1].ID, "12")
	must(t, image.Close())
	listed := run(t, "qemu-img", "snapshot", "-l", path)
	if date := snapshots[0].Date.UTC().Format("2006-01-02 15:04:05"); !strings.Contains(listed, date) {
		t.Errorf("%s is not in %s", date, listed)
	}
}

func Test130SnapshotsOfAnImageWithoutAny(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	snapshots, err := image.Snapshots()
	must(t, err)
	want(t, "snapshots", len(snapshots), 0)
}

func Test130SnapshotsAreOpenedReadOnly(t *testing.T) {
	for name, value := range map[string]byte{"before": 0x31, "after": 0x32, "1": 0x31} {
		image := openPath(t, copyOf(t, "snapshots.qcow2"), optionsOf(t, "snapshot", name), 0)
		wantBytes(t, readAt(t, image, 0, 64*kib), filled(value, 64*kib))
		_, err := image.WriteAt([]byte{1}, 0)
		wantErrno(t, err, syscall.EROFS)
	}
	_, err := Open(copyOf(t, "snapshots.qcow2"), optionsOf(t, "snapshot", "never"), 0)
	if err == nil || !strings.Contains(err.Error(), "never") {
		t.Fatalf("%v does not name the snapshot", err)
	}
}
