package qcow2blk

import (
	"context"
	"syscall"
	"testing"
)

func zeroings(image *Image) map[string]func(offset, length int64, flags WriteFlags) error {
	return map[string]func(offset, length int64, flags WriteFlags) error{
		"queue": func(offset, length int64, flags WriteFlags) error {
			return image.WriteZeroesContext(context.Background(), offset, length, flags)
		},
		"direct": image.Direct().WriteZeroes,
	}
}

func Test250WriteZeroesOfAnyRange(t *testing.T) {
	for _, name := range []string{"queue", "direct"} {
		image, path := openCopy(t, "plain.qcow2")
		must(t, zeroings(image)[name](100, 200*kib, 0))
		wantBytes(t, readAt(t, image, 0, 100), filled(1, 100))
		wantBytes(t, readAt(t, image, 100, 200*kib), filled(0, 200*kib))
		must(t, image.Close())
		qemuIO(t, path, "read -P 1 0 100", "read -P 0 100 200k", "read -P 4 204900 100")
		mustCheck(t, path)
	}
}

func Test250WriteZeroesCoversTheBackingFile(t *testing.T) {
	image, _ := openCopy(t, "overlay.qcow2")
	must(t, image.WriteZeroes(0, mib))
	wantBytes(t, readAt(t, image, 0, mib), filled(0, mib))
}

func Test250WriteZeroesWithoutAHoleKeepsTheSpace(t *testing.T) {
	for _, name := range []string{"queue", "direct"} {
		image, _ := openCopy(t, "plain.qcow2")
		must(t, zeroings(image)[name](0, 64*kib, NoHole))
		must(t, zeroings(image)[name](64*kib, 64*kib, 0))
		wantBytes(t, readAt(t, image, 0, 128*kib), filled(0, 128*kib))
		var holes []bool
		for _, at := range []int64{0, 64 * kib} {
			must(t, image.BlockStatus(at, 64*kib, func(extent Extent) bool {
				holes = append(holes, extent.IsHole())
				return false
			}))
		}
		want(t, "a hole with NoHole", holes[0], false)
		want(t, "a hole without", holes[1], true)
	}
}

func Test250WriteZeroesTakesItsFlags(t *testing.T) {
	for _, name := range []string{"queue", "direct"} {
		image, _ := openCopy(t, "plain.qcow2")
		zero := zeroings(image)[name]
		must(t, zero(0, 64*kib, FUA))
		must(t, zero(64*kib, 64*kib, FUA|FastZero))
		wantErrno(t, zero(128*kib, 64*kib, 1<<31), syscall.EINVAL)
		wantBytes(t, readAt(t, image, 0, 256*kib), append(filled(0, 128*kib), plainBytes(128*kib, 128*kib)...))
	}
}

func Test250WriteZeroesOfAnInvalidRangeFails(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, zero := range zeroings(image) {
		wantErrno(t, zero(0, 65*mib, 0), syscall.EINVAL)
		wantErrno(t, zero(-512, 512, 0), syscall.EINVAL)
		wantErrno(t, zero(0, -512, 0), syscall.EINVAL)
	}
	readOnly := openPath(t, copyOf(t, "plain.qcow2"), nil, ReadOnly)
	for _, zero := range zeroings(readOnly) {
		wantErrno(t, zero(0, 64*kib, 0), syscall.EROFS)
	}
}
