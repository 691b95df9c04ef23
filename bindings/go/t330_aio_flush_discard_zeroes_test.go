package qcow2blk

import (
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// await begins a request that moves no data, and returns what it ends with.
func await(t *testing.T, begin func(done func(error)) error) error {
	t.Helper()
	ended := make(chan error, 1)
	must(t, begin(func(err error) { ended <- err }))
	return receive(t, "the request", ended)
}

func Test330AioFlushPutsWritesIntoTheFile(t *testing.T) {
	image, path := openCopy(t, "empty.qcow2")
	writeAt(t, image, filled(0x63, 128*kib), mib)
	must(t, await(t, image.Async().Flush))
	left := filepath.Join(t.TempDir(), "left.qcow2")
	copyFile(t, path, left)
	qemuIO(t, left, "read -P 0x63 1M 128k")
}

func Test330AioFlushesOfManyGoroutinesAllEnd(t *testing.T) {
	image, _ := openCopy(t, "empty.qcow2")
	var all sync.WaitGroup
	for g := int64(0); g < 200; g++ {
		all.Add(1)
		go func(g int64) {
			defer all.Done()
			if _, err := image.WriteAt([]byte{1}, g*64*kib); err != nil {
				t.Error(err)
			}
			if err := image.Flush(); err != nil {
				t.Error(err)
			}
		}(g)
	}
	all.Wait()
}

func Test330AioDiscardFreesWholeClusters(t *testing.T) {
	image, path := openCopy(t, "plain.qcow2")
	must(t, await(t, func(done func(error)) error {
		return image.Async().Discard(64*kib-512, 129*kib, FUA, done)
	}))
	wantBytes(t, readAt(t, image, 0, 64*kib), filled(1, 64*kib))
	wantBytes(t, readAt(t, image, 64*kib, 128*kib), filled(0, 128*kib))
	wantBytes(t, readAt(t, image, 192*kib, 64*kib), filled(4, 64*kib))
	must(t, image.Close())
	mustCheck(t, path)
}

func Test330AioWriteZeroesOfAnyRange(t *testing.T) {
	image, path := openCopy(t, "plain.qcow2")
	must(t, await(t, func(done func(error)) error {
		return image.Async().WriteZeroes(100, 200*kib, FUA|NoHole, done)
	}))
	must(t, image.Close())
	qemuIO(t, path, "read -P 1 0 100", "read -P 0 100 200k", "read -P 4 204900 100")
	mustCheck(t, path)
}

func Test330AioWhatCannotBeIsRefused(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	async := image.Async()
	never := func(error) { t.Error("it was called") }
	for _, c := range []struct {
		offset, length int64
		flags          WriteFlags
	}{{0, 65 * mib, 0}, {-512, 512, 0}, {0, -512, 0}, {0, 512, 1 << 31}} {
		wantErrno(t, async.Discard(c.offset, c.length, c.flags, never), syscall.EINVAL)
		wantErrno(t, async.WriteZeroes(c.offset, c.length, c.flags, never), syscall.EINVAL)
	}
	wantErrno(t, async.Discard(0, 512, FastZero, never), syscall.EINVAL)
	readOnly := openPath(t, copyOf(t, "plain.qcow2"), nil, ReadOnly)
	wantErrno(t, readOnly.Async().Discard(0, 64*kib, 0, never), syscall.EROFS)
	wantErrno(t, readOnly.Async().WriteZeroes(0, 64*kib, 0, never), syscall.EROFS)
	must(t, await(t, readOnly.Async().Flush))
}
