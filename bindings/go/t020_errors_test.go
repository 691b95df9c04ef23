package qcow2blk

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func Test020ErrorsUnwrapToErrno(t *testing.T) {
	_, err := Open("/nonexistent/disk.qcow2", nil, 0)
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("%T is not an *Error", err)
	}
	want(t, "errno", failed.Errno, syscall.ENOENT)
	want(t, "is ENOENT", errors.Is(err, syscall.ENOENT), true)
	want(t, "is os.ErrNotExist", errors.Is(err, os.ErrNotExist), true)
	want(t, "is EIO", errors.Is(err, syscall.EIO), false)
	want(t, "operation", failed.Op, "open")
}

func Test020ErrorsTellTheNameOfTheFile(t *testing.T) {
	_, err := Open("/nonexistent/disk.qcow2", nil, 0)
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/disk.qcow2") {
		t.Fatalf("%v does not name the file", err)
	}
	if !strings.HasPrefix(err.Error(), "qcow2blk: ") || strings.HasSuffix(err.Error(), ".") {
		t.Fatalf("%q", err.Error())
	}
}

// The text is one of a thread, and goroutines change threads.
func Test020ErrorsOfOneGoroutineAreNotThoseOfAnother(t *testing.T) {
	var all sync.WaitGroup
	for g := 0; g < 50; g++ {
		all.Add(1)
		go func(g int) {
			defer all.Done()
			for n := 0; n < 20; n++ {
				path := fmt.Sprintf("/nonexistent/%d-%d.qcow2", g, n)
				if _, err := Open(path, nil, 0); err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("%v does not name %s", err, path)
				}
			}
		}(g)
	}
	all.Wait()
}

func Test020ErrorsWithoutAMessageTellTheErrno(t *testing.T) {
	err := &Error{Op: "flush", Errno: syscall.EIO}
	want(t, "text", err.Error(), "qcow2blk: flush: input/output error")
}
