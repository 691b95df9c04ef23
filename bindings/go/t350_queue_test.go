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

// The queue is there from the first Open to the last Close: its goroutine and its descriptor too.
func Test350QueueLivesAsLongAsThereAreImages(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	must(t, openPath(t, path, nil, ReadOnly).Close())
	before, files := goroutines(), descriptors(t)

	first := openPath(t, path, nil, ReadOnly)
	second := openPath(t, path, nil, ReadOnly)
	wantGoroutines(t, before+1)
	want(t, "one queue", first.engine, second.engine)
	must(t, first.Close())
	readAt(t, second, 0, 512)
	must(t, second.Close())
	wantGoroutines(t, before)
	want(t, "descriptors", descriptors(t), files)
	want(t, "queue", second.engine.queue.get(), 0)
}

// A hundred reads of 4 MiB are more than may be in flight: they wait, and none fails with EAGAIN.
func Test350QueueThatIsFullMakesGoroutinesWait(t *testing.T) {
	image := openPath(t, copyOf(t, "plain.qcow2"), optionsOf(t, "cache", "writeback"), 0)
	release := held(t, image)
	const readers = 100
	var all sync.WaitGroup
	for g := 0; g < readers; g++ {
		all.Add(1)
		go func() {
			defer all.Done()
			p := make([]byte, largestTransfer)
			if _, err := image.ReadAt(p, 2*largestTransfer); err != nil {
				t.Error(err)
			}
		}()
	}
	eventually(t, "no more may be in flight", func() bool { return budgetInUse(image) == mostInFlight })
	time.Sleep(20 * time.Millisecond)
	if now := inFlightNow(t, image); now > mostInFlight/largestTransfer {
		t.Errorf("%d are in flight", now)
	}
	// Another image is not held up.
	other, _ := openCopy(t, "plain.qcow2")
	wantBytes(t, readAt(t, other, 0, 512), filled(1, 512))
	release()
	all.Wait()
	want(t, "memory in use", budgetInUse(image), 0)
}

// An open image costs no processor time while nothing happens.
func Test350QueueSleepsWhileNothingHappens(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	readAt(t, image, 0, 512)
	// The collector and the loop may have something to do still.
	runtime.GC()
	time.Sleep(200 * time.Millisecond)
	before := processorTime(t)
	time.Sleep(time.Second)
	if used := processorTime(t) - before; used > 100*time.Millisecond {
		t.Errorf("%v in an idle second", used)
	}
	readAt(t, image, 0, 512)
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// The goroutines that wait in front of a full queue leave when their context ends, and those behind them get their turn.
func Test350QueueLetsWaitersGo(t *testing.T) {
	b := budget{free: 10}
	must(t, b.acquire(context.Background(), 8))
	ctx, cancel := context.WithCancel(context.Background())
	big, small := make(chan error, 1), make(chan error, 1)
	go func() { big <- b.acquire(ctx, 5) }()
	eventually(t, "the first waits", func() bool { return waiting(&b) == 1 })
	go func() { small <- b.acquire(context.Background(), 2) }()
	eventually(t, "the second waits behind it", func() bool { return waiting(&b) == 2 })
	cancel()
	want(t, "is Canceled", errors.Is(receive(t, "the first", big), context.Canceled), true)
	must(t, receive(t, "the second", small))
	b.release(8)
	b.release(2)
	want(t, "free", b.free, 10)
}

func waiting(b *budget) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting.Len()
}

// Memory of C is used again, but not kept without bound.
func Test350QueueKeepsSomeMemoryForLater(t *testing.T) {
	for _, c := range [][2]int{{0, 0}, {1, 0}, {4096, 0}, {4097, 1}, {8192, 1}, {8193, 2}, {4 << 20, 10}, {4<<20 + 1, 11}} {
		want(t, "class", classOf(c[0]), c[1])
	}
	var all []*buffer
	for n := 0; n < 10; n++ {
		memory, err := getBuffer("test", largestTransfer)
		must(t, err)
		want(t, "alignment", uintptr(memory.base)%smallestBuffer, 0)
		all = append(all, memory)
	}
	for _, memory := range all {
		memory.release()
	}
	pool.mu.Lock()
	idle := pool.idle
	pool.mu.Unlock()
	if idle > mostIdle || idle < mostIdle-largestTransfer {
		t.Fatalf("%d bytes are kept", idle)
	}
	memory, err := getBuffer("test", largestTransfer)
	must(t, err)
	memory.release()
}
