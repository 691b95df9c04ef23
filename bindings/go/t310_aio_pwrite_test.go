package qcow2blk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

func Test310AioPwriteIsReadByQemu(t *testing.T) {
	image, path := openCopy(t, "empty.qcow2")
	p := filled(0xb1, 100*kib)
	done, ended := ends()
	must(t, image.Async().WriteAt(p, 1000, 0, done))
	// It was copied: the caller may have it back at once.
	copy(p, filled(0, 100*kib))
	end := receive(t, "the write", ended)
	must(t, end.err)
	want(t, "bytes written", end.n, len(p))
	must(t, image.Close())
	qemuIO(t, path, "read -P 0 0 1000", "read -P 0xb1 1000 100k", "read -P 0 103400 100")
	mustCheck(t, path)
}

func Test310AioPwriteWithFUAIsInTheFileWhenItEnds(t *testing.T) {
	image, path := openCopy(t, "empty.qcow2")
	done, ended := ends()
	must(t, image.Async().WriteAt(filled(0xf3, 4096), mib, FUA, done))
	must(t, receive(t, "the write", ended).err)
	left := filepath.Join(t.TempDir(), "left.qcow2")
	copyFile(t, path, left)
	qemuIO(t, left, "read -P 0xf3 1M 4k")
}

func Test310AioPwriteThatCannotBeIsRefused(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	never := func(int, error) { t.Error("it was called") }
	wantErrno(t, image.Async().WriteAt(make([]byte, 513), 64*mib-512, 0, never), syscall.EINVAL)
	wantErrno(t, image.Async().WriteAt(make([]byte, 1), -1, 0, never), syscall.EINVAL)
	wantErrno(t, image.Async().WriteAt(make([]byte, 1), 0, FastZero, never), syscall.EINVAL)
	readOnly := openPath(t, copyOf(t, "plain.qcow2"), nil, ReadOnly)
	wantErrno(t, readOnly.Async().WriteAt(make([]byte, 1), 0, 0, never), syscall.EROFS)
	must(t, image.Flush())
	must(t, readOnly.Flush())
}

func Test310AioPwriteOfManyGoroutines(t *testing.T) {
	image, path := openCopy(t, "empty.qcow2")
	const writers = 500
	var all sync.WaitGroup
	for g := 0; g < writers; g++ {
		all.Add(1)
		go func(g int64) {
			defer all.Done()
			// Two share each cluster.
			if _, err := image.WriteAt(filled(byte(g%255+1), 32*kib), g*32*kib); err != nil {
				t.Error(err)
			}
		}(int64(g))
	}
	all.Wait()
	must(t, image.Close())
	var commands []string
	for g := 0; g < writers; g++ {
		commands = append(commands, fmt.Sprintf("read -P %d %dk 32k", g%255+1, g*32))
	}
	qemuIO(t, path, commands...)
	mustCheck(t, path)
}

// What the caller does to its slice after it gave up is not what is written.
func Test310AioPwriteThatWasCancelledWritesWhatItWasGiven(t *testing.T) {
	image, _ := openCopy(t, "empty.qcow2")
	release := held(t, image)
	ctx, cancel := context.WithCancel(context.Background())
	p := filled(0xd1, 64*kib)
	ended := make(chan error, 1)
	go func() {
		_, err := image.WriteAtContext(ctx, p, 0, 0)
		ended <- err
	}()
	eventually(t, "it is in flight", func() bool { return inFlightNow(t, image) >= 1 })
	cancel()
	want(t, "is Canceled", errors.Is(receive(t, "the cancelled write", ended), context.Canceled), true)
	copy(p, filled(0xee, 64*kib))
	release()
	eventually(t, "it has ended", func() bool { return inFlightNow(t, image) == 0 })
	wantBytes(t, readAt(t, image, 0, 64*kib), filled(0xd1, 64*kib))
}
