package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"math/bits"
	"sync"
	"syscall"
	"unsafe"
)

const (
	// smallestBuffer is also the alignment: data reaches the disk without another copy where the page cache is bypassed.
	smallestBuffer = 4 << 10
	// largestTransfer is the most that is moved by one request; what is longer takes several.
	largestTransfer = 4 << 20
	// mostIdle bounds what the pool keeps for later.
	mostIdle = 16 << 20

	bufferClasses = 11 // 4 KiB, 8 KiB, ... 4 MiB
)

// buffer is memory of C: the library may use it for as long as it likes, also when the caller has given up.
type buffer struct {
	base unsafe.Pointer
	size int
}

func (b *buffer) bytes(length int) []byte { return unsafe.Slice((*byte)(b.base), length) }

var pool struct {
	mu   sync.Mutex
	idle int
	free [bufferClasses][]*buffer
}

// classOf is the pool's class of buffers that hold a length; bufferClasses and more are not pooled.
func classOf(length int) int {
	if length <= smallestBuffer {
		return 0
	}
	return bits.Len(uint(length-1)) - bits.Len(uint(smallestBuffer-1))
}

// getBuffer returns memory whose content is anything.
func getBuffer(op string, length int) (*buffer, error) {
	class := classOf(length)
	size := (length + smallestBuffer - 1) &^ (smallestBuffer - 1)
	if class < bufferClasses {
		size = smallestBuffer << class
		if found := takeIdle(class, size); found != nil {
			return found, nil
		}
	}
	var base unsafe.Pointer
	if failed := C.posix_memalign(&base, smallestBuffer, C.size_t(size)); failed != 0 {
		return nil, &Error{Op: op, Errno: syscall.ENOMEM}
	}
	return &buffer{base: base, size: size}, nil
}

func takeIdle(class, size int) *buffer {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	free := pool.free[class]
	if len(free) == 0 {
		return nil
	}
	last := len(free) - 1
	found := free[last]
	free[last] = nil
	pool.free[class] = free[:last]
	pool.idle -= size
	return found
}

// release gives the memory back; nil has none.
func (b *buffer) release() {
	if b == nil {
		return
	}
	if !b.keepIdle() {
		C.free(b.base)
	}
}

func (b *buffer) keepIdle() bool {
	class := classOf(b.size)
	if class >= bufferClasses {
		return false
	}
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if pool.idle+b.size > mostIdle {
		return false
	}
	pool.idle += b.size
	pool.free[class] = append(pool.free[class], b)
	return true
}
