package qcow2blk

/*
#cgo pkg-config: qcow2blk
#cgo CFLAGS: -std=gnu99
#include "shim.h"
*/
import "C"

import (
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// handle is a handle of the library as a number; 0 when it is closed, which the library answers with EINVAL.
type handle struct {
	number atomic.Uintptr
}

func (h *handle) get() C.uintptr_t { return C.uintptr_t(h.number.Load()) }

func (h *handle) set(number C.uintptr_t) { h.number.Store(uintptr(number)) }

// take leaves the handle closed, so that only one of several Close calls gets it.
func (h *handle) take() C.uintptr_t { return C.uintptr_t(h.number.Swap(0)) }

// check makes an *Error of a negative result, and frees the text that came with it.
func check(op string, result C.q2_result) (int64, error) {
	value := int64(result.value)
	if value >= 0 {
		return value, nil
	}
	message := ""
	if result.message != nil {
		message = C.GoString(result.message)
		C.free(unsafe.Pointer(result.message))
	}
	return 0, &Error{Op: op, Errno: syscall.Errno(-value), Message: message}
}

// checked is check for functions whose result is only an error.
func checked(op string, result C.q2_result) error {
	_, err := check(op, result)
	return err
}

// cString refuses what C would read as a shorter string. The caller frees it.
func cString(op, what, text string) (*C.char, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, invalid(op, what+" contains a NUL byte")
	}
	return C.CString(text), nil
}

func freeString(text *C.char) { C.free(unsafe.Pointer(text)) }

// firstTextSize is enough for nearly every name and status, so that they are asked for once.
const firstTextSize = 4096

// text gets a string of any length from a function that works as snprintf does.
func text(op string, fill func(buffer *C.char, size C.size_t) C.q2_result) (string, error) {
	for size := firstTextSize; ; {
		memory := (*C.char)(C.malloc(C.size_t(size)))
		length, err := check(op, fill(memory, C.size_t(size)))
		found := ""
		if err == nil && length < int64(size) {
			found = C.GoStringN(memory, C.int(length))
		}
		C.free(unsafe.Pointer(memory))
		if err != nil || length < int64(size) {
			return found, err
		}
		// It may have grown since: leave it some room.
		size = int(length) + firstTextSize
	}
}
