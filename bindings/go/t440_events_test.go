package qcow2blk

import (
	"syscall"
	"testing"
)

func Test440EventsTellTheStateFirst(t *testing.T) {
	device := attach(t, "plain.qcow2")
	var seen events
	must(t, device.OnEvent(seen.add))
	eventually(t, "an event came", func() bool { return seen.count() > 0 })
	want(t, "first event", seen.seen[0].Kind, EventState)
	want(t, "state", seen.seen[0].State, StateRunning)
}

func Test440EventsFollowTheState(t *testing.T) {
	device := attach(t, "plain.qcow2")
	var seen events
	must(t, device.OnEvent(seen.add))
	eventually(t, "the first event came", func() bool { return seen.count() > 0 })
	must(t, device.Suspend(DefaultTimeout))
	must(t, device.Resume(DefaultTimeout, 0))
	must(t, device.Detach(DefaultTimeout, 0))
	eventually(t, "the end was told", func() bool {
		return seen.has(func(event Event) bool { return event.State == StateEnded })
	})
	states := seen.states()
	position := 0
	for _, wanted := range []State{StateRunning, StateSuspended, StateRunning, StateEnded} {
		for position < len(states) && states[position] != wanted {
			position++
		}
		if position == len(states) {
			t.Fatalf("no %v in its place in %v", wanted, states)
		}
	}
}

// Corruption is noticed when the damaged table is read.
func Test440EventsTellOfDamage(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	patch(t, path, l2Table(t, path), []byte{0x80, 0, 0, 0, 0, 0, 0x02, 0})
	device, err := Attach(path, optionsOf(t, "socket", socket(t)))
	must(t, err)
	defer device.Close() // which fails: the image is damaged
	var seen events
	must(t, device.OnEvent(seen.add))
	uri, err := device.URI()
	must(t, err)
	_ = runAny(t, "qemu-io", "-f", "raw", "-c", "read 0 512", uri)
	eventually(t, "the damage was told", func() bool {
		return seen.has(func(event Event) bool { return event.Kind == EventCorrupt && event.Message != "" })
	})
	wantState(t, device, StateFailed)
}

func Test440EventsEnd(t *testing.T) {
	device := attach(t, "plain.qcow2")
	var seen events
	must(t, device.OnEvent(seen.add))
	eventually(t, "an event came", func() bool { return seen.count() > 0 })
	must(t, device.OnEvent(nil))
	before := seen.count()
	must(t, device.Suspend(DefaultTimeout))
	must(t, device.Resume(DefaultTimeout, 0))
	want(t, "events", seen.count(), before)
}

func Test440EventsGoToTheLastListener(t *testing.T) {
	device := attach(t, "plain.qcow2")
	var first, second events
	must(t, device.OnEvent(first.add))
	must(t, device.OnEvent(second.add))
	eventually(t, "the second was told the state", func() bool { return second.count() > 0 })
	before := first.count()
	must(t, device.Suspend(DefaultTimeout))
	eventually(t, "the second was told", func() bool {
		return second.has(func(event Event) bool { return event.State == StateSuspended })
	})
	want(t, "events of the first", first.count(), before)
}

// It would wait for itself.
func Test440EventsMayNotWait(t *testing.T) {
	device := attach(t, "plain.qcow2")
	results := make(chan error, 4)
	told := false
	must(t, device.OnEvent(func(Event) {
		if told {
			return
		}
		told = true
		results <- device.OnEvent(nil)
		results <- device.Suspend(DefaultTimeout)
		results <- device.Detach(DefaultTimeout, 0)
		results <- device.Close()
	}))
	for n := 0; n < cap(results); n++ {
		wantErrno(t, receive(t, "a call from the callback", results), syscall.EDEADLK)
	}
	wantState(t, device.Device, StateRunning)
}

func Test440EventsHaveWords(t *testing.T) {
	words := ""
	for kind := EventState; kind <= EventServer; kind++ {
		words += kind.String() + ","
	}
	want(t, "kinds", words, "state,no space,error,corrupt,server,")
	want(t, "states", StateRunning.String()+StateEnded.String()+State(9).String(), "runningended9")
}
