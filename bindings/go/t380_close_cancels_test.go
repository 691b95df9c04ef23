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

// What has begun is done, the rest is cancelled, and nothing else happens to a request.
func Test380CloseEndsEveryRequest(t *testing.T) {
	image, path := openCopy(t, "empty.qcow2")
	release := held(t, image)
	const writers = 200
	results := make([]error, writers)
	var all sync.WaitGroup
	for g := range results {
		all.Add(1)
		go func(g int) {
			defer all.Done()
			_, results[g] = image.WriteAt(filled(byte(g+1), 20*kib), int64(g)*20*kib)
		}(g)
	}
	eventually(t, "all of them are in flight", func() bool { return inFlightNow(t, image) == writers })
	closed := make(chan error, 1)
	go func() { closed <- image.Close() }()
	// The handle is gone at once, the requests are not.
	eventually(t, "the image is being closed", func() bool { return image.handle.get() == 0 })
	time.Sleep(20 * time.Millisecond)
	release()
	must(t, receive(t, "the close", closed))
	all.Wait()
	want(t, "memory in use", budgetInUse(image), 0)

	mustCheck(t, path)
	reopened := openPath(t, path, nil, ReadOnly)
	cancelled := 0
	for g, err := range results {
		switch {
		case err == nil:
			wantBytes(t, readAt(t, reopened, int64(g)*20*kib, 20*kib), filled(byte(g+1), 20*kib))
		case errors.Is(err, syscall.ECANCELED):
			cancelled++
		default:
			t.Errorf("write %d ended with %v", g, err)
		}
	}
	t.Logf("%d of %d were cancelled", cancelled, writers)
}

// Nobody drives this one, so nothing has begun.
func Test380CloseEndsTheRequestsOfACallerLoop(t *testing.T) {
	path := copyOf(t, "empty.qcow2")
	image := openLoop(t, path)
	const requests = 100
	var ended []error
	for n := int64(0); n < requests; n++ {
		must(t, image.Async().WriteAt(filled(1, 4096), n*64*kib, 0, func(_ int, err error) { ended = append(ended, err) }))
	}
	must(t, image.Close())
	want(t, "ended", len(ended), requests)
	for _, err := range ended {
		if err != nil && !errors.Is(err, syscall.ECANCELED) {
			t.Errorf("got %v", err)
		}
	}
	mustCheck(t, path)
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
