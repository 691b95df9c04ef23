package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"math"
	"sync"
	"time"
)

// Device is an attached image: a block device or an NBD server. Its methods may be called from any goroutine at any time.
type Device struct {
	handle handle

	mu     sync.Mutex // guards events
	events *eventSink // nil before the first OnEvent
}

// DefaultTimeout stands for 30 seconds.
const DefaultTimeout time.Duration = -1

// State is what a device is doing.
type State int

// The states of a device.
const (
	StateRunning    State = C.QCOW2BLK_STATE_RUNNING
	StateSuspending State = C.QCOW2BLK_STATE_SUSPENDING // held, waiting for requests in progress
	StateSuspended  State = C.QCOW2BLK_STATE_SUSPENDED  // the image file is closed and can be edited
	StateDetaching  State = C.QCOW2BLK_STATE_DETACHING
	StateFailed     State = C.QCOW2BLK_STATE_FAILED // takes no more writes; the status tells why
	StateEnded      State = C.QCOW2BLK_STATE_ENDED  // detached, or its server died
)

// String is the word of "qcow2blk list", or "ended".
func (s State) String() string {
	return wordOf(int(s), "running", "suspending", "suspended", "detaching", "failed", "ended")
}

// Attach opens an image and serves it, as "qcow2blk attach" with these options does: "socket" or "listen" for NBD, which
// threads of this process serve; otherwise a block device, which gets a process of its own and outlives this one.
func Attach(path string, options *Options) (*Device, error) {
	const op = "attach"
	number, done, err := options.borrow(op)
	if err != nil {
		return nil, err
	}
	defer done()
	var cPath *C.char
	if path != "" {
		if cPath, err = cString(op, "the path", path); err != nil {
			return nil, err
		}
		defer freeString(cPath)
	}
	var attached C.uintptr_t
	if err := checked(op, C.q2_device_attach(cPath, number, &attached)); err != nil {
		return nil, err
	}
	return newDevice(attached), nil
}

// OpenDevice gets hold of a device that is attached already, by this or another process. target is its name, node, image
// or URI, as for "qcow2blk status".
func OpenDevice(target string) (*Device, error) {
	const op = "open device"
	cTarget, err := cString(op, "the target", target)
	if err != nil {
		return nil, err
	}
	defer freeString(cTarget)
	var opened C.uintptr_t
	if err := checked(op, C.q2_device_open(cTarget, &opened)); err != nil {
		return nil, err
	}
	return newDevice(opened), nil
}

func newDevice(number C.uintptr_t) *Device {
	device := &Device{}
	device.handle.set(number)
	return device
}

// Name is the name of the device.
func (d *Device) Name() (string, error) {
	return text("name", func(memory *C.char, size C.size_t) C.q2_result {
		return C.q2_device_name(d.handle.get(), memory, size)
	})
}

// URI is the NBD URI that clients connect to; empty for a block device.
func (d *Device) URI() (string, error) {
	return text("URI", func(memory *C.char, size C.size_t) C.q2_result {
		return C.q2_device_uri(d.handle.get(), memory, size)
	})
}

// Path is the node of the block device, such as /dev/ublkb0; empty for an NBD server.
func (d *Device) Path() (string, error) {
	return text("path", func(memory *C.char, size C.size_t) C.q2_result {
		return C.q2_device_path(d.handle.get(), memory, size)
	})
}

// State is what the device is doing.
func (d *Device) State() (State, error) {
	state, err := check("state", C.q2_device_state(d.handle.get()))
	return State(state), err
}

// Suspend holds all requests and leaves a closed, consistent image file, which other programs can change. timeout is how
// long requests in progress may take, in whole milliseconds. If it fails the device goes on.
func (d *Device) Suspend(timeout time.Duration) error {
	return checked("suspend", C.q2_device_suspend(d.handle.get(), milliseconds(timeout)))
}

// Resume opens the image again, as it is now, and releases the held requests. timeout is how long it may wait for its turn
// and for locks. If it fails the device stays suspended.
func (d *Device) Resume(timeout time.Duration, flags ResumeFlags) error {
	return checked("resume", C.q2_device_resume(d.handle.get(), milliseconds(timeout), C.uint32_t(flags)))
}

// Detach writes everything down and ends the device. If it fails the device goes on. Close must be called nevertheless.
func (d *Device) Detach(timeout time.Duration, flags DetachFlags) error {
	return checked("detach", C.q2_device_detach(d.handle.get(), milliseconds(timeout), C.uint32_t(flags)))
}

// Close lets go of the device. What this process serves is detached first; a device that has a process of its own goes on.
func (d *Device) Close() error {
	number := d.handle.take()
	err := checked("close device", C.q2_device_close(number))
	if isRefused(err) {
		d.handle.set(number)
		return err
	}
	if number != 0 {
		d.endEvents()
	}
	return err
}

// milliseconds rounds up, so that a short time does not become none. Negative times other than DefaultTimeout become one
// that the library refuses.
func milliseconds(timeout time.Duration) C.int {
	switch {
	case timeout == DefaultTimeout:
		return -1
	case timeout < 0:
		return -2
	case timeout > math.MaxInt32*time.Millisecond:
		return math.MaxInt32
	}
	return C.int((timeout + time.Millisecond - 1) / time.Millisecond)
}
