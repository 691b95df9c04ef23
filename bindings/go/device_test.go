package qcow2blk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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

// serveVariable makes a process of these tests one that only serves an image.
const serveVariable = "QCOW2BLK_TEST_SERVE"

// serve attaches an image, says so, and detaches it when its standard input ends.
func serve(path string) {
	options, err := NewOptions()
	if err == nil {
		err = options.Set("socket", path+".sock")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	device, err := Attach(path, options)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := device.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// server is another process that serves an image.
type server struct {
	command *exec.Cmd
	input   io.Closer
	path    string // of the image
}

func startServer(t *testing.T, name string) *server {
	t.Helper()
	folder := filepath.Dir(socket(t))
	path := filepath.Join(folder, fmt.Sprintf("served%d.qcow2", time.Now().UnixNano()))
	copyFile(t, source(t, name), path)
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), serveVariable+"="+path)
	input, err := command.StdinPipe()
	must(t, err)
	output, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	said, err := bufio.NewReader(output).ReadString('\n')
	must(t, err)
	want(t, "the server says", said, "ready\n")
	return &server{command, input, path}
}

// kill ends it without a chance to clean up.
func (s *server) kill(t *testing.T) {
	t.Helper()
	must(t, s.command.Process.Kill())
	_ = s.command.Wait()
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
