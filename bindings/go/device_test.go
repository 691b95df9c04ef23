package qcow2blk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// attached is an image that this process serves on a unix socket.
type attached struct {
	*Device
	path string // of the image
	uri  string
}

// attach serves a copy of an image. More options may follow, as name and value.
func attach(t *testing.T, name string, pairs ...string) attached {
	t.Helper()
	return attachPath(t, copyOf(t, name), pairs...)
}

func attachPath(t *testing.T, path string, pairs ...string) attached {
	t.Helper()
	device, err := Attach(path, optionsOf(t, append([]string{"socket", socket(t)}, pairs...)...))
	must(t, err)
	t.Cleanup(func() {
		if err := device.Close(); err != nil && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("close: %v", err)
		}
	})
	uri, err := device.URI()
	must(t, err)
	return attached{device, path, uri}
}

// socket is a path that is short enough: t.TempDir has the name of the test in it.
func socket(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "q2")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return filepath.Join(folder, "s")
}

// nbdIO runs commands of qemu-io on an NBD server.
func nbdIO(t *testing.T, uri string, commands ...string) {
	t.Helper()
	arguments := []string{"-f", "raw"}
	for _, command := range commands {
		arguments = append(arguments, "-c", command)
	}
	output := run(t, "qemu-io", append(arguments, uri)...)
	if strings.Contains(output, "failed") {
		t.Fatalf("qemu-io %v: %s", commands, output)
	}
}

func wantState(t *testing.T, device *Device, wanted State) {
	t.Helper()
	state, err := device.State()
	must(t, err)
	want(t, "state", state, wanted)
}

// events collects what a device tells.
type events struct {
	mu   sync.Mutex
	seen []Event
}

func (e *events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, event)
}

func (e *events) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.seen)
}

// states are those of the events of that kind, without repetitions.
func (e *events) states() []State {
	e.mu.Lock()
	defer e.mu.Unlock()
	var states []State
	for _, event := range e.seen {
		if event.Kind == EventState && (len(states) == 0 || states[len(states)-1] != event.State) {
			states = append(states, event.State)
		}
	}
	return states
}

func (e *events) has(holds func(Event) bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.seen {
		if holds(event) {
			return true
		}
	}
	return false
}
