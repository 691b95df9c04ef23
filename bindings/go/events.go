package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"runtime/cgo"
	"sync"
)

// EventKind says what happened to a device.
type EventKind int

// The kinds of events.
const (
	EventState   EventKind = C.QCOW2BLK_EVENT_STATE    // the state has changed, by whomever
	EventNoSpace EventKind = C.QCOW2BLK_EVENT_NO_SPACE // Value requests wait for space; 0 when it is over
	EventError   EventKind = C.QCOW2BLK_EVENT_ERROR    // something failed that no request could be told of
	EventCorrupt EventKind = C.QCOW2BLK_EVENT_CORRUPT  // the image takes no more writes
	EventServer  EventKind = C.QCOW2BLK_EVENT_SERVER   // process Value serves the device now; 0 while there is none
)

// String is such as "state".
func (k EventKind) String() string {
	return wordOf(int(k)-1, "state", "no space", "error", "corrupt", "server")
}

// Event is what happened to a device.
type Event struct {
	Kind    EventKind
	State   State // at that time
	Value   int   // see the kinds
	Message string
}

// eventSink is what the library knows of a device's listener. It stays the same while the listener changes.
type eventSink struct {
	number   cgo.Handle
	mu       sync.Mutex
	listener func(Event)
}

func (s *eventSink) get() func(Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener
}

func (s *eventSink) swap(listener func(Event)) (before func(Event)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.listener = s.listener, listener
	return before
}

// OnEvent has a function hear what happens to the device. It runs on a thread of the library, one event at a time. The
// first event tells the state at the time of the call. nil ends it: when OnEvent returns, the former function is not
// running and will not be called again. It fails with EDEADLK inside the function.
func (d *Device) OnEvent(listener func(Event)) error {
	sink, err := d.eventSink()
	if err != nil {
		return err
	}
	number := C.uintptr_t(0)
	if listener != nil {
		number = C.uintptr_t(sink.number)
	}
	// There before the library knows: the first event must not be lost. No lock is held while the library is called: the
	// call may wait for a listener, and a listener may make this call, which fails.
	before := sink.swap(listener)
	if err := checked("events", C.q2_device_set_event_callback(d.handle.get(), number)); err != nil {
		sink.swap(before)
		return err
	}
	return nil
}

func (d *Device) eventSink() (*eventSink, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.handle.get() == 0 {
		return nil, invalid("events", "the device is closed")
	}
	if d.events == nil {
		d.events = &eventSink{}
		d.events.number = cgo.NewHandle(d.events)
	}
	return d.events, nil
}

// endEvents is for a device that the library has closed: no event comes any more.
func (d *Device) endEvents() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.events != nil {
		d.events.number.Delete()
		d.events = nil
	}
}

//export goEvent
func goEvent(sink C.uintptr_t, event *C.struct_qcow2blk_device_event) {
	listener := cgo.Handle(sink).Value().(*eventSink).get()
	if listener == nil {
		return
	}
	listener(Event{
		Kind:    EventKind(event.kind),
		State:   State(event.state),
		Value:   int(event.value),
		Message: C.GoString(event.message),
	})
}
