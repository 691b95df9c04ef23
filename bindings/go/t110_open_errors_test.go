package qcow2blk

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func openError(t *testing.T, path string, flags OpenFlags) error {
	t.Helper()
	image, err := Open(path, nil, flags)
	if image != nil {
		_ = image.Close()
	}
	return err
}

func Test110OpenErrorsOfWhatIsNotThere(t *testing.T) {
	wantErrno(t, openError(t, filepath.Join(t.TempDir(), "none.qcow2"), 0), syscall.ENOENT)
}

func Test110OpenErrorsOfADamagedImage(t *testing.T) {
	wantErrno(t, openError(t, copyOf(t, "damaged.qcow2"), 0), syscall.EUCLEAN)
}

func Test110OpenErrorsOfAMissingBackingFile(t *testing.T) {
	path := copyOf(t, "overlay.qcow2")
	must(t, os.Remove(filepath.Join(filepath.Dir(path), "base.qcow2")))
	wantErrno(t, openError(t, path, 0), syscall.ENOENT)
}

func Test110OpenErrorsOfAnImageInUse(t *testing.T) {
	_, path := openCopy(t, "plain.qcow2")
	wantErrno(t, openError(t, path, 0), syscall.EBUSY)
	wantErrno(t, openError(t, path, ReadOnly), syscall.EBUSY)
}

func Test110OpenErrorsOfAnythingElse(t *testing.T) {
	wantErrno(t, openError(t, "", 0), syscall.EINVAL)
	wantErrno(t, openError(t, "disk\x00.qcow2", 0), syscall.EINVAL)
	wantErrno(t, openError(t, copyOf(t, "plain.qcow2"), 1<<31), syscall.EINVAL)
	if openError(t, copyOf(t, "raw.img"), 0) == nil {
		t.Fatal("a raw image was taken for qcow2")
	}
	if openError(t, t.TempDir(), 0) == nil {
		t.Fatal("a folder was taken for an image")
	}
}

func Test110OpenErrorsLeaveNothingBehind(t *testing.T) {
	path := copyOf(t, "damaged.qcow2")
	wantErrno(t, openError(t, path, 0), syscall.EUCLEAN)
	before, files := goroutines(), descriptors(t)
	for n := 0; n < 50; n++ {
		wantErrno(t, openError(t, path, 0), syscall.EUCLEAN)
	}
	want(t, "descriptors", descriptors(t), files)
	wantGoroutines(t, before)
}
