package qcow2blk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// loadTime is how long the load lasts: QCOW2BLK_LOAD_SECONDS, or 4 seconds.
func loadTime(t *testing.T) time.Duration {
	t.Helper()
	seconds := 4
	if given := os.Getenv("QCOW2BLK_LOAD_SECONDS"); given != "" {
		number, err := strconv.Atoi(given)
		must(t, err)
		seconds = number
	}
	return time.Duration(seconds) * time.Second
}

// worker has a part of the disk to itself, whose borders lie inside clusters that it shares with its neighbours.
type worker struct {
	image  *Image
	random *rand.Rand
	start  int64
	model  []byte
	passed int
}

// some is a range inside the worker's part.
func (w *worker) some() (offset, length int64) {
	length = 1 + w.random.Int63n(100*kib)
	if w.random.Intn(3) > 0 {
		length = 512 * (1 + w.random.Int63n(16))
	}
	offset = w.random.Int63n(int64(len(w.model)) - length)
	return offset, length
}

func (w *worker) step() error {
	offset, length := w.some()
	part := w.model[offset : offset+length]
	at := w.start + offset
	switch w.random.Intn(10) {
	case 0, 1, 2:
		p := make([]byte, length)
		if _, err := w.image.ReadAt(p, at); err != nil {
			return err
		}
		if !bytes.Equal(p, part) {
			return fmt.Errorf("%d bytes at %d are not those that were written", length, at)
		}
		return nil
	case 3, 4, 5:
		w.random.Read(part)
		_, err := w.image.WriteAtContext(context.Background(), part, at, WriteFlags(w.random.Intn(8)/7)*FUA)
		return err
	case 6:
		w.random.Read(part)
		third := length / 3
		_, err := w.image.WriteVAt([][]byte{part[:third], part[third:]}, at)
		return err
	case 7:
		for n := range part {
			part[n] = 0
		}
		return w.image.WriteZeroesContext(context.Background(), at, length, WriteFlags(w.random.Intn(2))*NoHole)
	case 8:
		return w.cancelledRead(part, at)
	default:
		if w.random.Intn(8) == 0 {
			return w.image.Flush()
		}
		return w.image.BlockStatus(at, length, func(extent Extent) bool {
			w.passed++
			return true
		})
	}
}

// cancelledRead gives up at any time, and must then have left the slice alone.
func (w *worker) cancelledRead(part []byte, at int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(w.random.Intn(300))*time.Microsecond)
	defer cancel()
	p := filled(0xee, int64(len(part)))
	_, err := w.image.ReadAtContext(ctx, p, at)
	if errors.Is(err, context.DeadlineExceeded) {
		if !bytes.Equal(p, filled(0xee, int64(len(p)))) {
			return errors.New("a cancelled read has changed its slice")
		}
		return nil
	}
	if err == nil && !bytes.Equal(p, part) {
		return fmt.Errorf("%d bytes at %d are not those that were written", len(p), at)
	}
	return err
}

// Goroutines, the garbage collector and stacks that move, against a model of what the disk must hold.
func Test950LoadKeepsWhatWasWritten(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	image, path := openCopy(t, "compressed.qcow2")
	const workers = 48
	const share = 700*kib + 13 // not a multiple of anything
	deadline := time.Now().Add(loadTime(t))
	all := make([]*worker, workers)
	var running sync.WaitGroup
	var steps atomic.Int64
	for g := range all {
		w := &worker{image: image, random: rand.New(rand.NewSource(seed + int64(g))), start: int64(g) * share}
		w.model = plainBytes(w.start, share)
		all[g] = w
		running.Add(1)
		go func(g int) {
			defer running.Done()
			for time.Now().Before(deadline) {
				if err := w.step(); err != nil {
					t.Errorf("worker %d: %v", g, err)
					return
				}
				steps.Add(1)
			}
		}(g)
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	for collecting := true; collecting; {
		runtime.GC()
		garbage(100)
		select {
		case <-ended:
			collecting = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Logf("%d steps", steps.Load())
	if steps.Load() < workers {
		t.Errorf("only %d steps", steps.Load())
	}
	for _, w := range all {
		wantBytes(t, readAt(t, image, w.start, share), w.model)
	}
	must(t, image.Close())
	want(t, "memory in use", budgetInUse(image), 0)

	mustCheck(t, path)
	raw := filepath.Join(t.TempDir(), "raw.img")
	run(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
	content, err := os.ReadFile(raw)
	must(t, err)
	for _, w := range all {
		wantBytes(t, content[w.start:w.start+share], w.model)
	}
	wantBytes(t, content[workers*share:], plainBytes(workers*share, 64*mib-workers*share))
}

// garbage makes stacks grow and the collector work.
func garbage(depth int) int {
	if depth == 0 {
		return len(make([]byte, 100))
	}
	var room [512]byte
	room[depth%len(room)] = byte(depth)
	return garbage(depth-1) + int(room[depth%len(room)])
}

// Go requires it of every handler that is not its own: goroutines run on small stacks.
func Test950LoadSignalHandlersUseTheAlternateStack(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	readAt(t, image, 0, 512)
	const onStack = 0x08000000 // SA_ONSTACK
	handlers := 0
	for signal := uintptr(1); signal <= 64; signal++ {
		var action struct{ handler, flags, restorer, mask uintptr }
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, signal, 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
		if errno != 0 || action.handler <= 1 {
			continue
		}
		handlers++
		if action.flags&onStack == 0 {
			t.Errorf("the handler of signal %d has no SA_ONSTACK", signal)
		}
	}
	if handlers < 3 {
		t.Fatalf("found only %d handlers", handlers)
	}
}

// Every thread gets the signal by which the library's runtime stops threads, many times, wherever it is in Go. In a process
// of its own, because it would not be this test alone that fails.
func Test950LoadSurvivesTheSignalsOfTheRuntime(t *testing.T) {
	const inChild = "QCOW2BLK_SIGNAL_STORM"
	if os.Getenv(inChild) == "" {
		t.Setenv(inChild, "1")
		run(t, "/proc/self/exe", "-test.run", "^"+t.Name()+"$")
		return
	}
	image, _ := openCopy(t, "plain.qcow2")
	end := time.Now().Add(2 * time.Second)
	var all sync.WaitGroup
	for g := int64(0); g < 8; g++ {
		all.Add(1)
		go func(g int64) {
			defer all.Done()
			p := make([]byte, 512)
			for time.Now().Before(end) {
				var inner sync.WaitGroup
				inner.Add(1)
				// A new goroutine has the smallest stack that there is.
				go func() { defer inner.Done(); garbage(3) }()
				inner.Wait()
				if _, err := image.ReadAt(p, g*64*kib); err != nil {
					t.Error(err)
				}
				if _, err := image.Direct().ReadAt(p, g*64*kib); err != nil {
					t.Error(err)
				}
			}
		}(g)
	}
	const signal = 34 // SIGRTMIN of glibc
	for sent := 0; time.Now().Before(end); sent++ {
		tasks, err := os.ReadDir("/proc/self/task")
		must(t, err)
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			must(t, err)
			// A thread may have ended since.
			_, _, _ = syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(id), signal)
		}
		time.Sleep(20 * time.Microsecond)
	}
	all.Wait()
	wantBytes(t, readAt(t, image, 0, 512), filled(1, 512))
}

// A fault in Go is still a panic of Go, although the library has a handler of its own.
func Test950LoadNilPointersStillPanic(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	readAt(t, image, 0, 512)
	for n := 0; n < 100; n++ {
		func() {
			defer func() {
				if _, is := recover().(runtime.Error); !is {
					t.Error("no panic of the runtime")
				}
			}()
			var none *worker
			none.passed++
		}()
	}
	wantBytes(t, readAt(t, image, 0, 512), filled(1, 512))
}
