package qcow2blk

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

func Test210PwriteIsReadByQemu(t *testing.T) {
	image, path := openCopy(t, "empty.qcow2")
	writeAt(t, image, filled(0xa1, 512), 0)
	writeAt(t, image, filled(0xa2, 3), 64*kib-1)
	writeAt(t, image, filled(0xa3, 9*mib+5), 10*mib+1)
	n, err := image.Direct().WriteAt(filled(0xa4, 100), 64*mib-100, 0)
	must(t, err)
	want(t, "bytes written", n, 100)
	wantBytes(t, readAt(t, image, 64*kib-1, 3), filled(0xa2, 3))
	must(t, image.Close())
	qemuIO(t, path, "read -P 0xa1 0 512", "read -P 0 512 1024", "read -P 0xa2 65535 3", "read -P 0xa3 10485761 9437189",
		"read -P 0 19922950 100", "read -P 0xa4 67108764 100")
	mustCheck(t, path)
}

func Test210PwriteOverABackingFileLeavesItsSurroundings(t *testing.T) {
	image, path := openCopy(t, "overlay.qcow2")
	writeAt(t, image, []byte{0x99}, 100)
	must(t, image.Close())
	qemuIO(t, path, "read -P 0x11 0 100", "read -P 0x99 100 1", "read -P 0x11 101 65435")
	mustCheck(t, path)
}

// A copy of the file, made while the image is open, has what a loss of power would have left.
func Test210PwriteWithFUAIsInTheFileWhenItReturns(t *testing.T) {
	image, path := openCopy(t, "empty.qcow2")
	_, err := image.WriteAtContext(context.Background(), filled(0xf1, 4096), mib, FUA)
	must(t, err)
	_, err = image.Direct().WriteAt(filled(0xf2, 4096), 2*mib, FUA)
	must(t, err)
	left := filepath.Join(t.TempDir(), "left.qcow2")
	copyFile(t, path, left)
	qemuIO(t, left, "read -P 0xf1 1M 4k", "read -P 0xf2 2M 4k")
}

func Test210PwritePastTheEndWritesNothing(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, c := range [][2]int64{{64*mib - 512, 513}, {64 * mib, 1}, {65 * mib, 1}, {60 * mib, 8 * mib}, {-1, 1}} {
		n, err := image.WriteAt(filled(0xbb, c[1]), c[0])
		wantErrno(t, err, syscall.EINVAL)
		want(t, "bytes written", n, 0)
		_, err = image.Direct().WriteAt(filled(0xbb, c[1]), c[0], 0)
		wantErrno(t, err, syscall.EINVAL)
	}
	wantBytes(t, readAt(t, image, 60*mib, 4*mib), filled(0, 4*mib))
}

func Test210PwriteToAReadOnlyImageFails(t *testing.T) {
	image := openPath(t, copyOf(t, "plain.qcow2"), nil, ReadOnly)
	n, err := image.WriteAt(filled(1, 512), 0)
	wantErrno(t, err, syscall.EROFS)
	want(t, "bytes written", n, 0)
	_, err = image.Direct().WriteAt(filled(1, 512), 0, 0)
	wantErrno(t, err, syscall.EROFS)
}

func Test210PwriteTakesNoOtherFlags(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, flags := range []WriteFlags{NoHole, FastZero, 1 << 31} {
		_, err := image.WriteAtContext(context.Background(), filled(9, 512), 0, flags)
		wantErrno(t, err, syscall.EINVAL)
		_, err = image.Direct().WriteAt(filled(9, 512), 0, flags)
		wantErrno(t, err, syscall.EINVAL)
	}
	wantBytes(t, readAt(t, image, 0, 512), filled(1, 512))
}

func Test210PwriteWithAnEndedContextWritesNothing(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := image.WriteAtContext(ctx, filled(0xcc, 512), 0, 0)
	want(t, "error", errors.Is(err, context.Canceled), true)
	wantBytes(t, readAt(t, image, 0, 512), filled(1, 512))
}
