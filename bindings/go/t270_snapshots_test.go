package qcow2blk

import (
	"strings"
	"syscall"
	"testing"
)

func Test270SnapshotsAreMadeAndGoneBackTo(t *testing.T) {
	image, path := openCopy(t, "plain.qcow2")
	id, err := image.CreateSnapshot("one")
	must(t, err)
	want(t, "ID", id, "1")
	_, err = image.WriteAt(filled(0x77, 64*kib), 0)
	must(t, err)
	must(t, image.Flush())
	if listed := run(t, "qemu-img", "snapshot", "-U", "-l", path); !strings.Contains(listed, "one") {
		t.Errorf("no snapshot in %s", listed)
	}
	must(t, image.RevertSnapshot("one"))
	wantBytes(t, readAt(t, image, 0, 64*kib), filled(1, 64*kib))
	must(t, image.DeleteSnapshot(id))
	wantErrno(t, image.DeleteSnapshot(id), syscall.ENOENT)
	wantErrno(t, image.RevertSnapshot("one"), syscall.ENOENT)
	_, err = image.CreateSnapshot("a\x00b")
	wantErrno(t, err, syscall.EINVAL)
	snapshots, err := image.Snapshots()
	must(t, err)
	want(t, "snapshots", len(snapshots), 0)
	must(t, image.Close())
	mustCheck(t, path)
}

func Test270SnapshotHasItsSize(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	run(t, "qemu-img", "snapshot", "-c", "small", path)
	run(t, "qemu-img", "resize", "-q", path, "128M")
	image := openPath(t, path, nil, 0)
	_, err := image.WriteAt([]byte{1}, 100*mib)
	must(t, err)
	must(t, image.RevertSnapshot("small"))
	size, err := image.Size()
	must(t, err)
	want(t, "size", size, 64*mib)
	_, err = image.WriteAt([]byte{1}, 100*mib)
	wantErrno(t, err, syscall.EINVAL)
	must(t, image.Close())
	mustCheck(t, path)
}

func Test270SnapshotsOfAReadOnlyImage(t *testing.T) {
	image := openPath(t, copyOf(t, "plain.qcow2"), nil, ReadOnly)
	_, err := image.CreateSnapshot("one")
	wantErrno(t, err, syscall.EROFS)
}
