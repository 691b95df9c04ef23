package qcow2blk

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"
)

// isEndOfClosed says whether a request may end so when its image is closed meanwhile.
func isEndOfClosed(err error) bool {
	return err == nil || errors.Is(err, syscall.ECANCELED) || errors.Is(err, syscall.ESHUTDOWN) ||
		errors.Is(err, syscall.EINVAL)
}

func Test380CloseCancelsWhatHasNotBegun(t *testing.T) {
	image, _ := openCopy(t, "compressed.qcow2")
	release := held(t, image)
	const readers = 200
	results := make(chan error, readers)
	for g := int64(0); g < readers; g++ {
		go func(g int64) {
			_, err := image.ReadAt(make([]byte, 4096), g%64*64*kib)
			results <- err
		}(g)
	}
	eventually(t, "all of them are in flight", func() bool { return inFlightNow(t, image) == readers })
	closed := make(chan error, 1)
	go func() { closed <- image.Close() }()
	// The handle is gone at once, the requests are not.
	eventually(t, "the image is being closed", func() bool { return image.handle.get() == 0 })
	time.Sleep(20 * time.Millisecond)
	release()
	must(t, receive(t, "the close", closed))
	canceled := 0
	for g := 0; g < readers; g++ {
		err := receive(t, "a read", results)
		if !isEndOfClosed(err) {
			t.Errorf("got %v", err)
		}
		if errors.Is(err, syscall.ECANCELED) {
			canceled++
		}
	}
	if canceled == 0 {
		t.Error("none was cancelled")
	}
	want(t, "memory in use", budgetInUse(), 0)
}

// When Close returns, every callback has run.
func Test380CloseEndsEveryCallback(t *testing.T) {
	image, _ := openCopy(t, "compressed.qcow2")
	const requests = 500
	var mu sync.Mutex
	ended := 0
	for n := int64(0); n < requests; n++ {
		must(t, image.Async().ReadAt(make([]byte, 4096), n%64*64*kib, func(_ int, err error) {
			mu.Lock()
			defer mu.Unlock()
			ended++
			if !isEndOfClosed(err) {
				t.Errorf("got %v", err)
			}
		}))
	}
	must(t, image.Close())
	mu.Lock()
	defer mu.Unlock()
	want(t, "ended", ended, requests)
}

func Test380CloseOfOneImageLeavesOthersAlone(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	stays := openPath(t, path, nil, ReadOnly)
	for n := 0; n < 20; n++ {
		goes := openPath(t, path, nil, ReadOnly)
		result := make(chan error, 1)
		go func() {
			_, err := goes.ReadAt(make([]byte, 4096), 0)
			result <- err
		}()
		must(t, goes.Close())
		if err := receive(t, "the read", result); !isEndOfClosed(err) {
			t.Fatal(err)
		}
		wantBytes(t, readAt(t, stays, 0, 512), filled(1, 512))
	}
}

// Goroutines that know nothing of the Close get an error, and none hangs.
func Test380CloseUnderLoad(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	for round := 0; round < 10; round++ {
		image := openPath(t, path, nil, 0)
		var all sync.WaitGroup
		for g := int64(0); g < 16; g++ {
			all.Add(1)
			go func(g int64) {
				defer all.Done()
				p := filled(byte(g), 4096)
				for {
					_, err := image.WriteAt(p, 8*mib+g*4096)
					if err == nil {
						_, err = image.ReadAt(p, g*64*kib)
					}
					if err != nil {
						if !isEndOfClosed(err) {
							t.Error(err)
						}
						return
					}
				}
			}(g)
		}
		time.Sleep(5 * time.Millisecond)
		must(t, image.Close())
		all.Wait()
	}
	mustCheck(t, path)
}
