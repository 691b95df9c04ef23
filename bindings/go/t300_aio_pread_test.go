package qcow2blk

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// transfer is the end of a request that moves data.
type transfer struct {
	n   int
	err error
}

// ends gives a callback, and the channel where its result comes.
func ends() (func(n int, err error), <-chan transfer) {
	ended := make(chan transfer, 1)
	return func(n int, err error) { ended <- transfer{n, err} }, ended
}

func Test300AioPreadReadsWhatQemuWrote(t *testing.T) {
	for _, name := range []string{"plain.qcow2", "compressed.qcow2", "zstd.qcow2"} {
		image, _ := openCopy(t, name)
		for _, at := range [][2]int64{{0, 512}, {64*kib - 1, 2}, {100, 300 * kib}, {0, 5 * mib}, {64*mib - 1, 1}} {
			p := make([]byte, at[1])
			done, ended := ends()
			must(t, image.Async().ReadAt(p, at[0], done))
			end := receive(t, "the read", ended)
			must(t, end.err)
			want(t, "bytes read", end.n, len(p))
			wantBytes(t, p, plainBytes(at[0], at[1]))
		}
	}
}

func Test300AioPreadOfAnInvalidRangeIsRefused(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	never := func(int, error) { t.Error("it was called") }
	wantErrno(t, image.Async().ReadAt(make([]byte, 513), 64*mib-512, never), syscall.EINVAL)
	wantErrno(t, image.Async().ReadAt(make([]byte, 1), -1, never), syscall.EINVAL)
	// Neither of the two is waiting somewhere.
	must(t, image.Flush())
}

// While a thousand goroutines wait, no OS thread does.
func Test300AioPreadOfManyGoroutinesNeedsFewThreads(t *testing.T) {
	image, _ := openCopy(t, "compressed.qcow2")
	readAt(t, image, 0, 512)
	before := threads(t)
	release := held(t, image)
	const readers = 1000
	var all sync.WaitGroup
	for g := int64(0); g < readers; g++ {
		all.Add(1)
		go func(offset int64) {
			defer all.Done()
			p := make([]byte, 4096)
			if _, err := image.ReadAt(p, offset); err != nil {
				t.Error(err)
			} else if p[0] != byte(offset/(64*kib)+1) {
				t.Errorf("%#x at %d", p[0], offset)
			}
		}(g % 64 * 64 * kib)
	}
	eventually(t, "all of them are in flight", func() bool {
		count, err := image.InFlight()
		must(t, err)
		return count >= readers
	})
	if now := threads(t); now > before+2*runtime.GOMAXPROCS(0)+4 {
		t.Errorf("%d threads while %d goroutines wait, %d before", now, readers, before)
	}
	release()
	all.Wait()
}

func Test300AioPreadReturnsWhenItsContextEnds(t *testing.T) {
	image, _ := openCopy(t, "compressed.qcow2")
	release := held(t, image)
	ctx, cancel := context.WithCancel(context.Background())
	p := filled(0xee, 64*kib)
	ended := make(chan transfer, 1)
	go func() {
		n, err := image.ReadAtContext(ctx, p, 0)
		ended <- transfer{n, err}
	}()
	eventually(t, "it is in flight", func() bool { return inFlightNow(t, image) >= 1 })
	cancel()
	end := receive(t, "the cancelled read", ended)
	want(t, "is Canceled", errors.Is(end.err, context.Canceled), true)
	want(t, "bytes read", end.n, 0)
	release()
	must(t, image.Flush())
	// The slice was the caller's again before the library had read.
	wantBytes(t, p, filled(0xee, 64*kib))
}

func Test300AioPreadReturnsWhenItsDeadlineIsOver(t *testing.T) {
	image, _ := openCopy(t, "compressed.qcow2")
	held(t, image)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := image.ReadAtContext(ctx, make([]byte, 512), 0)
	want(t, "is DeadlineExceeded", errors.Is(err, context.DeadlineExceeded), true)
}

// inFlightNow leaves out the request whose callback holds the image, if the library still counts it.
func inFlightNow(t *testing.T, image *Image) int {
	t.Helper()
	image.engine.mu.Lock()
	defer image.engine.mu.Unlock()
	return len(image.engine.requests)
}

// What was given up is given back: memory and place in the queue.
func Test300AioPreadThatWasCancelledLeaksNothing(t *testing.T) {
	image, _ := openCopy(t, "compressed.qcow2")
	release := held(t, image)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	const readers = 50
	for n := 0; n < readers; n++ {
		all.Add(1)
		go func() {
			defer all.Done()
			_, err := image.ReadAtContext(ctx, make([]byte, mib), 0)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}()
	}
	eventually(t, "all of them are in flight", func() bool { return inFlightNow(t, image) == readers })
	cancel()
	all.Wait()
	want(t, "memory in use", budgetInUse(image), readers*int(mib))
	release()
	eventually(t, "everything was given back", func() bool {
		return inFlightNow(t, image) == 0 && budgetInUse(image) == 0
	})
}

func budgetInUse(image *Image) int {
	image.inFlight.mu.Lock()
	defer image.inFlight.mu.Unlock()
	return mostInFlight - image.inFlight.free
}
