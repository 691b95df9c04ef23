package qcow2blk

import (
	"context"
	"syscall"
	"testing"
)

func discards(image *Image) map[string]func(offset, length int64, flags WriteFlags) error {
	return map[string]func(offset, length int64, flags WriteFlags) error{
		"queue": func(offset, length int64, flags WriteFlags) error {
			return image.DiscardContext(context.Background(), offset, length, flags)
		},
		"direct": image.Direct().Discard,
	}
}

func Test240DiscardFreesWholeClusters(t *testing.T) {
	for _, name := range []string{"queue", "direct"} {
		image, path := openCopy(t, "plain.qcow2")
		// Clusters 1 and 2 are whole; the parts of 0 and 3 stay.
		must(t, discards(image)[name](64*kib-512, 129*kib, 0))
		wantBytes(t, readAt(t, image, 64*kib-512, 512), filled(1, 512))
		wantBytes(t, readAt(t, image, 64*kib, 128*kib), filled(0, 128*kib))
		wantBytes(t, readAt(t, image, 192*kib, 64*kib), filled(4, 64*kib))
		must(t, image.Close())
		qemuIO(t, path, "read -P 1 0 64k", "read -P 0 64k 128k", "read -P 4 192k 64k")
		mustCheck(t, path)
	}
}

func Test240DiscardDoesNotUncoverTheBackingFile(t *testing.T) {
	image, _ := openCopy(t, "overlay.qcow2")
	must(t, image.Discard(0, 16*mib))
	wantBytes(t, readAt(t, image, 0, 2*mib), filled(0, 2*mib))
}

func Test240DiscardTakesFUAAndNoOtherFlags(t *testing.T) {
	for _, name := range []string{"queue", "direct"} {
		image, _ := openCopy(t, "plain.qcow2")
		discard := discards(image)[name]
		must(t, discard(0, 64*kib, FUA))
		wantErrno(t, discard(64*kib, 64*kib, NoHole), syscall.EINVAL)
		wantErrno(t, discard(64*kib, 64*kib, 1<<31), syscall.EINVAL)
		wantBytes(t, readAt(t, image, 64*kib, 512), filled(2, 512))
	}
}

func Test240DiscardOfAnInvalidRangeFails(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, discard := range discards(image) {
		wantErrno(t, discard(0, 65*mib, 0), syscall.EINVAL)
		wantErrno(t, discard(-512, 512, 0), syscall.EINVAL)
		wantErrno(t, discard(0, -512, 0), syscall.EINVAL)
		wantErrno(t, discard(512, 1<<63-1, 0), syscall.EINVAL)
	}
	readOnly := openPath(t, copyOf(t, "plain.qcow2"), nil, ReadOnly)
	for _, discard := range discards(readOnly) {
		wantErrno(t, discard(0, 64*kib, 0), syscall.EROFS)
	}
}
