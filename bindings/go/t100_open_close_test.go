package qcow2blk

import (
	"syscall"
	"testing"
)

func Test100OpenCloseGivesAnImage(t *testing.T) {
	image, err := Open(copyOf(t, "plain.qcow2"), nil, 0)
	must(t, err)
	size, err := image.Size()
	must(t, err)
	want(t, "size", size, 64*mib)
	must(t, image.Close())
}

func Test100OpenCloseTwiceFails(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	must(t, image.Close())
	wantErrno(t, image.Close(), syscall.EINVAL)
}

func Test100OpenReadOnlyIsForMany(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	first := openPath(t, path, nil, ReadOnly)
	second := openPath(t, path, nil, ReadOnly)
	wantBytes(t, readAt(t, first, 0, 512), readAt(t, second, 0, 512))
}

func Test100CloseUnlocksTheImage(t *testing.T) {
	image, path := openCopy(t, "plain.qcow2")
	must(t, image.Close())
	qemuIO(t, path, "write -P 9 0 512")
	mustCheck(t, path)
}

func Test100OpenCloseLeavesNothingBehind(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	round := func() {
		image, err := Open(path, nil, 0)
		must(t, err)
		readAt(t, image, 0, 4096)
		must(t, image.Close())
	}
	for n := 0; n < 10; n++ {
		round()
	}
	before, files, tasks := goroutines(), descriptors(t), threads(t)
	for n := 0; n < 100; n++ {
		round()
	}
	want(t, "descriptors", descriptors(t), files)
	wantGoroutines(t, before)
	if now := threads(t); now > tasks+4 {
		t.Fatalf("%d threads after 100 rounds, %d before", now, tasks)
	}
}
