package qcow2blk

import (
	"syscall"
	"testing"
)

func Test360CallbackMayBeginRequests(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	async := image.Async()
	ended := make(chan error, 1)
	left := 50
	p := make([]byte, 512)
	var next func(int, error)
	next = func(_ int, err error) {
		left--
		if err != nil || left == 0 {
			ended <- err
			return
		}
		if err := async.ReadAt(p, int64(left)*64*kib, next); err != nil {
			ended <- err
		}
	}
	must(t, async.ReadAt(p, 0, next))
	must(t, receive(t, "the last read", ended))
	wantBytes(t, p, filled(2, 512))
}

// It would wait for itself.
func Test360CallbackMayNotWait(t *testing.T) {
	image, path := openCopy(t, "plain.qcow2")
	direct := image.Direct()
	tries := map[string]func() error{
		"read":         func() error { _, err := direct.ReadAt(make([]byte, 512), 0); return err },
		"write":        func() error { _, err := direct.WriteAt(make([]byte, 512), 0, 0); return err },
		"flush":        direct.Flush,
		"discard":      func() error { return direct.Discard(0, 64*kib, 0) },
		"write zeroes": func() error { return direct.WriteZeroes(0, 64*kib, 0) },
		"block status": func() error { return direct.BlockStatus(0, 512, func(Extent) bool { return true }) },
		"snapshots":    func() error { _, err := image.Snapshots(); return err },
		"close":        image.Close,
		"open":         func() error { _, err := Open(path, nil, ReadOnly); return err },
	}
	for name, try := range tries {
		try := try
		result := make(chan error, 1)
		must(t, image.Async().Flush(func(error) { result <- try() }))
		t.Run(name, func(t *testing.T) { wantErrno(t, receive(t, name, result), syscall.EDEADLK) })
	}
	// Refused, it has changed nothing.
	wantBytes(t, readAt(t, image, 0, 512), filled(1, 512))
}

func Test360CallbackThatDoesNotWaitMayAsk(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	result := make(chan error, 1)
	must(t, image.Async().Flush(func(error) {
		_, err := image.Size()
		result <- err
	}))
	must(t, receive(t, "the callback", result))
}
