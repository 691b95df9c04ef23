package qcow2blk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
)

// TestMain gives devices a runtime directory of their own: the library reads the variable once.
func TestMain(m *testing.M) {
	if path := os.Getenv(serveVariable); path != "" {
		serve(path)
	}
	folder, err := os.MkdirTemp("", "q2run")
	if err == nil {
		err = os.Setenv("QCOW2BLK_RUNTIME_DIR", folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(status)
}

// source is an image of tests/abi/make-images.sh, only to be looked at.
func source(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("QCOW2BLK_TEST_IMAGES")
	if folder == "" {
		t.Fatal("QCOW2BLK_TEST_IMAGES is not set: run tests/abi/make-images.sh FOLDER and set it to FOLDER")
	}
	return filepath.Join(folder, name)
}

// copyOf is a copy of an image, with its base if it has one.
func copyOf(t *testing.T, name string) string {
	t.Helper()
	folder := t.TempDir()
	copyFile(t, source(t, name), filepath.Join(folder, name))
	if name == "overlay.qcow2" {
		copyFile(t, source(t, "base.qcow2"), filepath.Join(folder, "base.qcow2"))
	}
	return filepath.Join(folder, name)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	run(t, "cp", "--sparse=always", from, to)
}

// openCopy opens a copy of an image, and closes it at the end of the test.
func openCopy(t *testing.T, name string) (image *Image, path string) {
	t.Helper()
	path = copyOf(t, name)
	return openPath(t, path, nil, 0), path
}

func openPath(t *testing.T, path string, options *Options, flags OpenFlags) *Image {
	t.Helper()
	image, err := Open(path, options, flags)
	must(t, err)
	t.Cleanup(func() { closeOnce(t, image) })
	return image
}

// closeOnce is for tests that may have closed it themselves.
func closeOnce(t *testing.T, image *Image) {
	t.Helper()
	if err := image.Close(); err != nil && !errors.Is(err, syscall.EINVAL) {
		t.Errorf("close: %v", err)
	}
}

func optionsOf(t *testing.T, pairs ...string) *Options {
	t.Helper()
	options, err := NewOptions()
	must(t, err)
	t.Cleanup(func() { _ = options.Close() })
	for n := 0; n < len(pairs); n += 2 {
		must(t, options.Set(pairs[n], pairs[n+1]))
	}
	return options
}

// run is another program, which must succeed.
func run(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	return runIn(t, "", name, arguments...)
}

// runAny is another program, which may fail.
func runAny(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	output, _ := exec.Command(name, arguments...).CombinedOutput()
	return string(output)
}

func runIn(t *testing.T, folder, name string, arguments ...string) string {
	t.Helper()
	command := exec.Command(name, arguments...)
	command.Dir = folder
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

// qemuIO runs commands of qemu-io on a qcow2 file. qemu-io says "Pattern verification failed" and exits with 0.
func qemuIO(t *testing.T, path string, commands ...string) {
	t.Helper()
	arguments := []string{"-f", "qcow2"}
	for _, command := range commands {
		arguments = append(arguments, "-c", command)
	}
	output := run(t, "qemu-io", append(arguments, path)...)
	if strings.Contains(output, "failed") {
		t.Fatalf("qemu-io %v: %s", commands, output)
	}
}

// mustCheck has qemu-img look for errors in the tables of an image.
func mustCheck(t *testing.T, path string) {
	t.Helper()
	run(t, "qemu-img", "check", "-f", "qcow2", path)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErrno(t *testing.T, err error, want syscall.Errno) {
	t.Helper()
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want an *Error with %v", err, want)
	}
	if failed.Errno != want {
		t.Fatalf("got errno %d (%v), want %d (%v)", failed.Errno, err, want, want)
	}
}

func want[T comparable](t *testing.T, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Fatalf("%s: got %v, want %v", what, got, wanted)
	}
}

func filled(value byte, length int64) []byte {
	return bytes.Repeat([]byte{value}, int(length))
}

// wantBytes says where the first difference is.
func wantBytes(t *testing.T, got, wanted []byte) {
	t.Helper()
	if len(got) != len(wanted) {
		t.Fatalf("got %d bytes, want %d", len(got), len(wanted))
	}
	for n := range got {
		if got[n] != wanted[n] {
			t.Fatalf("byte %d is %#x, want %#x", n, got[n], wanted[n])
		}
	}
}

func readAt(t *testing.T, image *Image, offset, length int64) []byte {
	t.Helper()
	p := make([]byte, length)
	n, err := image.ReadAt(p, offset)
	must(t, err)
	want(t, "bytes read", n, len(p))
	return p
}

func writeAt(t *testing.T, image *Image, p []byte, offset int64) {
	t.Helper()
	n, err := image.WriteAt(p, offset)
	must(t, err)
	want(t, "bytes written", n, len(p))
}

// plainCluster is how make-images.sh fills cluster n of plain.qcow2.
func plainCluster(n int64) []byte {
	if n >= 64 {
		return make([]byte, 64*kib)
	}
	return filled(byte(n+1), 64*kib)
}

// plainBytes is a range of plain.qcow2.
func plainBytes(offset, length int64) []byte {
	var all []byte
	for n := offset / (64 * kib); n*64*kib < offset+length; n++ {
		all = append(all, plainCluster(n)...)
	}
	start := offset % (64 * kib)
	return all[start : start+length]
}

func entries(t *testing.T, folder string) int {
	t.Helper()
	found, err := os.ReadDir(folder)
	must(t, err)
	return len(found)
}

func descriptors(t *testing.T) int { t.Helper(); return entries(t, "/proc/self/fd") }

// goroutines is their number when those that were about to end have ended.
func goroutines() int {
	time.Sleep(20 * time.Millisecond)
	return runtime.NumGoroutine()
}

// wantGoroutines waits for those that are about to end.
func wantGoroutines(t *testing.T, wanted int) {
	t.Helper()
	eventually(t, fmt.Sprintf("there are %d goroutines", wanted), func() bool { return runtime.NumGoroutine() == wanted })
}

func threads(t *testing.T) int { t.Helper(); return entries(t, "/proc/self/task") }

// eventually waits for what other threads bring about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 20 seconds it is still not so: %s", what)
		}
	}
}

// receive is what comes within 20 seconds.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing came in 20 seconds: %s", what)
		panic("not reached")
	}
}

// held is an image whose thread stands still until the returned function is called: what is submitted meanwhile is in
// flight for certain.
func held(t *testing.T, image *Image) (release func()) {
	t.Helper()
	inside, gate := make(chan struct{}), make(chan struct{})
	must(t, image.Async().Flush(func(error) {
		close(inside)
		<-gate
	}))
	receive(t, "the callback that holds the image", inside)
	released := false
	release = func() {
		if !released {
			released = true
			close(gate)
		}
	}
	t.Cleanup(release)
	return release
}
