package qcow2blk

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// openLoop is on an OS thread that nothing else uses.
func openLoop(t *testing.T, path string) *LoopImage {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	image, err := OpenLoop(path, nil, 0)
	must(t, err)
	return image
}

// turn polls the image's descriptor and lets it work, until that many requests have ended.
func turn(t *testing.T, image *LoopImage, requests int) {
	t.Helper()
	fd, err := image.FD()
	must(t, err)
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	must(t, err)
	defer syscall.Close(epoll)
	event := syscall.EpollEvent{Events: syscall.EPOLLIN}
	must(t, syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &event))
	for end := time.Now().Add(20 * time.Second); requests > 0; {
		ended, err := image.Process()
		must(t, err)
		if requests -= ended; requests <= 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d requests have not ended", requests)
		}
		if _, err := syscall.EpollWait(epoll, make([]syscall.EpollEvent, 1), 1000); err != nil && err != syscall.EINTR {
			t.Fatal(err)
		}
	}
}

func Test370CallerLoopDoesItsWorkInProcess(t *testing.T) {
	path := copyOf(t, "empty.qcow2")
	before := threads(t)
	image := openLoop(t, path)
	async := image.Async()
	ended := 0
	for n := int64(0); n < 100; n++ {
		must(t, async.WriteAt(filled(byte(n+1), 4096), n*64*kib, 0, func(count int, err error) {
			ended++
			if err != nil || count != 4096 {
				t.Errorf("write: %d, %v", count, err)
			}
		}))
	}
	want(t, "ended before Process", ended, 0)
	turn(t, image, 100)
	want(t, "ended", ended, 100)

	p := make([]byte, 4096)
	must(t, async.ReadAt(p, 3*64*kib, func(int, error) { ended++ }))
	turn(t, image, 1)
	wantBytes(t, p, filled(4, 4096))
	count, err := image.InFlight()
	must(t, err)
	want(t, "in flight", count, 0)
	// Go starts threads when it likes, but not one for each request.
	if now := threads(t); now > before+20 {
		t.Errorf("%d threads, %d before", now, before)
	}
	must(t, image.Close())
	qemuIO(t, path, "read -P 1 0 4k", "read -P 100 6336k 4k")
	mustCheck(t, path)
}

func Test370CallerLoopHasSynchronousCalls(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	image := openLoop(t, path)
	direct := image.Direct()
	p := make([]byte, 128*kib)
	_, err := direct.ReadAt(p, 0)
	must(t, err)
	wantBytes(t, p, plainBytes(0, 128*kib))
	_, err = direct.WriteAt(filled(0xc1, 512), 32*mib, FUA)
	must(t, err)
	must(t, direct.Discard(0, 64*kib, 0))
	must(t, direct.WriteZeroes(64*kib, 64*kib, 0))
	must(t, direct.Flush())
	found := merged(t, direct.BlockStatus, 0, 128*kib)
	want(t, "zero", found[0].IsZero(), true)
	size, err := image.Size()
	must(t, err)
	want(t, "size", size, 64*mib)
	must(t, image.Close())
	qemuIO(t, path, "read -P 0 0 128k", "read -P 3 128k 64k", "read -P 0xc1 32M 512")
	mustCheck(t, path)
}

func Test370CallerLoopBelongsToItsThread(t *testing.T) {
	image := openLoop(t, copyOf(t, "plain.qcow2"))
	errs := make(chan error, 4)
	go func() {
		// This goroutine's thread cannot be the locked one.
		_, err := image.Direct().ReadAt(make([]byte, 512), 0)
		errs <- err
		_, err = image.Process()
		errs <- err
		errs <- image.Async().Flush(func(error) {})
		errs <- image.Close()
	}()
	for n := 0; n < 4; n++ {
		wantErrno(t, receive(t, "a call of another thread", errs), syscall.EPERM)
	}
	// Refused, the Close has changed nothing.
	_, err := image.Direct().ReadAt(make([]byte, 512), 0)
	must(t, err)
	must(t, image.Close())
	wantErrno(t, image.Close(), syscall.EINVAL)
}

func Test370CallerLoopIsNotThatOfOtherImages(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	_, err := image.fd()
	wantErrno(t, err, syscall.EINVAL)
	_, err = image.process()
	wantErrno(t, err, syscall.EINVAL)
}

func Test370CallerLoopTellsWhyItCannotBeOpened(t *testing.T) {
	_, err := OpenLoop("/nonexistent/disk.qcow2", nil, 0)
	wantErrno(t, err, syscall.ENOENT)
}
