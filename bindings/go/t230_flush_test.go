package qcow2blk

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// A copy of the file, made while the image is open, has what a loss of power would have left.
func Test230FlushPutsWritesIntoTheFile(t *testing.T) {
	for name, flush := range map[string]func(*Image) error{
		"queue":  (*Image).Flush,
		"direct": func(image *Image) error { return image.Direct().Flush() },
	} {
		image, path := openCopy(t, "empty.qcow2")
		writeAt(t, image, filled(0x61, 128*kib), mib)
		must(t, flush(image))
		left := filepath.Join(t.TempDir(), name+".qcow2")
		copyFile(t, path, left)
		qemuIO(t, left, "read -P 0x61 1M 128k")
	}
}

func Test230FlushOfAReadOnlyImageSucceeds(t *testing.T) {
	image := openPath(t, copyOf(t, "plain.qcow2"), nil, ReadOnly)
	must(t, image.Flush())
	must(t, image.Direct().Flush())
}

func Test230FlushWithAnEndedContextFails(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	want(t, "error", errors.Is(image.FlushContext(ctx), context.Canceled), true)
}
