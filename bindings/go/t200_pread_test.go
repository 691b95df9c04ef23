package qcow2blk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func Test200PreadReadsWhatQemuWrote(t *testing.T) {
	for _, name := range []string{"plain.qcow2", "compressed.qcow2", "zstd.qcow2"} {
		image, _ := openCopy(t, name)
		for _, at := range [][2]int64{{0, 512}, {1, 1}, {64*kib - 1, 2}, {100, 300 * kib}, {4*mib - 7, 14}, {0, 5 * mib}} {
			wantBytes(t, readAt(t, image, at[0], at[1]), plainBytes(at[0], at[1]))
			p := make([]byte, at[1])
			n, err := image.Direct().ReadAt(p, at[0])
			must(t, err)
			want(t, "bytes read", n, len(p))
			wantBytes(t, p, plainBytes(at[0], at[1]))
		}
	}
}

func Test200PreadReadsThroughTheBackingFile(t *testing.T) {
	image, _ := openCopy(t, "overlay.qcow2")
	got := readAt(t, image, 0, 2*mib)
	wanted := append(filled(0x11, 512*kib), filled(0x22, 256*kib)...)
	wanted = append(wanted, filled(0, 64*kib)...)
	wanted = append(wanted, filled(0x11, 192*kib)...)
	wantBytes(t, got, append(wanted, filled(0, mib)...))
}

func Test200PreadAtTheEndIsThatOfAReaderAt(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, c := range []struct {
		offset, length int64
		n              int
		err            error
	}{
		{64*mib - 512, 512, 512, nil},
		{64*mib - 512, 513, 512, io.EOF},
		{64*mib - 1, 5 * mib, 1, io.EOF},
		{64 * mib, 1, 0, io.EOF},
		{65 * mib, 1, 0, io.EOF},
		{0, 0, 0, nil},
	} {
		p := filled(0xee, c.length)
		n, err := image.ReadAt(p, c.offset)
		want(t, "bytes read", n, c.n)
		want(t, "error is "+fmt.Sprint(c.err), err == c.err, true)
		wantBytes(t, p, append(filled(0, int64(n)), filled(0xee, c.length-int64(n))...))
	}
}

func Test200PreadOfAnInvalidRangeFails(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	_, err := image.ReadAt(make([]byte, 1), -1)
	wantErrno(t, err, syscall.EINVAL)
	_, err = image.ReadAt(make([]byte, 1), 1<<63-1)
	wantErrno(t, err, syscall.EINVAL)
	_, err = image.Direct().ReadAt(make([]byte, 513), 64*mib-512)
	wantErrno(t, err, syscall.EINVAL)
	_, err = image.Direct().ReadAt(make([]byte, 1), -1)
	wantErrno(t, err, syscall.EINVAL)
}

func Test200PreadOfNothingSucceeds(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	n, err := image.ReadAt(nil, 0)
	must(t, err)
	want(t, "bytes read", n, 0)
	n, err = image.Direct().ReadAt(nil, 0)
	must(t, err)
	want(t, "bytes read", n, 0)
}

func Test200PreadFitsTheStandardLibrary(t *testing.T) {
	image, path := openCopy(t, "zstd.qcow2")
	var copied bytes.Buffer
	n, err := io.Copy(&copied, io.NewSectionReader(image, 0, 64*mib))
	must(t, err)
	want(t, "bytes copied", n, 64*mib)
	must(t, image.Close())

	raw := filepath.Join(t.TempDir(), "raw.img")
	run(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
	wanted, err := os.ReadFile(raw)
	must(t, err)
	wantBytes(t, copied.Bytes(), wanted)
}

func Test200PreadWithAnEndedContextReadsNothing(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p := filled(0xee, 512)
	n, err := image.ReadAtContext(ctx, p, 0)
	want(t, "bytes read", n, 0)
	want(t, "error", errors.Is(err, context.Canceled), true)
	wantBytes(t, p, filled(0xee, 512))
}
