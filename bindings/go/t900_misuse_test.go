package qcow2blk

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// imageCalls are all calls on an image, which must fail on what is not one.
func imageCalls(image *Image) map[string]func() error {
	direct, async, p := image.Direct(), image.Async(), make([]byte, 512)
	visit := func(Extent) bool { return true }
	moved := func(int, error) { panic("it was called") }
	ended := func(error) { panic("it was called") }
	twice := [][]byte{p, p}
	return map[string]func() error{
		"Size":               func() error { _, err := image.Size(); return err },
		"ClusterSize":        func() error { _, err := image.ClusterSize(); return err },
		"IsReadOnly":         func() error { _, err := image.IsReadOnly(); return err },
		"FormatVersion":      func() error { _, err := image.FormatVersion(); return err },
		"BackingFile":        func() error { _, err := image.BackingFile(); return err },
		"InFlight":           func() error { _, err := image.InFlight(); return err },
		"InfoJSON":           func() error { _, err := image.InfoJSON(); return err },
		"Info":               func() error { _, err := image.Info(); return err },
		"Snapshots":          func() error { _, err := image.Snapshots(); return err },
		"fd":                 func() error { _, err := image.fd(); return err },
		"process":            func() error { _, err := image.process(); return err },
		"ReadAt":             func() error { _, err := image.ReadAt(p, 0); return err },
		"WriteAt":            func() error { _, err := image.WriteAt(p, 0); return err },
		"ReadVAt":            func() error { _, err := image.ReadVAt(twice, 0); return err },
		"WriteVAt":           func() error { _, err := image.WriteVAt(twice, 0); return err },
		"Flush":              image.Flush,
		"Discard":            func() error { return image.Discard(0, 512) },
		"WriteZeroes":        func() error { return image.WriteZeroes(0, 512) },
		"BlockStatus":        func() error { return image.BlockStatus(0, 512, visit) },
		"Direct.ReadAt":      func() error { _, err := direct.ReadAt(p, 0); return err },
		"Direct.ReadAt(nil)": func() error { _, err := direct.ReadAt(nil, 0); return err },
		"Direct.WriteAt":     func() error { _, err := direct.WriteAt(p, 0, 0); return err },
		"Direct.ReadVAt":     func() error { _, err := direct.ReadVAt(twice, 0); return err },
		"Direct.WriteVAt":    func() error { _, err := direct.WriteVAt(twice, 0, 0); return err },
		"Direct.Flush":       direct.Flush,
		"Direct.Discard":     func() error { return direct.Discard(0, 512, 0) },
		"Direct.WriteZeroes": func() error { return direct.WriteZeroes(0, 512, 0) },
		"Direct.BlockStatus": func() error { return direct.BlockStatus(0, 512, visit) },
		"Async.ReadAt":       func() error { return async.ReadAt(p, 0, moved) },
		"Async.WriteAt":      func() error { return async.WriteAt(p, 0, 0, moved) },
		"Async.ReadVAt":      func() error { return async.ReadVAt(twice, 0, moved) },
		"Async.WriteVAt":     func() error { return async.WriteVAt(twice, 0, 0, moved) },
		"Async.Flush":        func() error { return async.Flush(ended) },
		"Async.Discard":      func() error { return async.Discard(0, 512, 0, ended) },
		"Async.WriteZeroes":  func() error { return async.WriteZeroes(0, 512, 0, ended) },
		"Async.BlockStatus":  func() error { return async.BlockStatus(0, 512, func([]Extent, error) { panic("it was called") }) },
	}
}

func wantAllInvalid(t *testing.T, calls map[string]func() error) {
	t.Helper()
	for name, call := range calls {
		err := call()
		var failed *Error
		if !errors.As(err, &failed) || failed.Errno != syscall.EINVAL {
			t.Errorf("%s: got %v, want EINVAL", name, err)
		} else if failed.Message == "" {
			t.Errorf("%s: no text", name)
		}
	}
}

func Test900MisuseOfAClosedImage(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	must(t, image.Close())
	wantAllInvalid(t, imageCalls(image))
	wantAllInvalid(t, map[string]func() error{"Close": image.Close})
}

// A handle of another kind, a number that never was one, and an address where nothing is.
func Test900MisuseOfWhatIsNotAnImage(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	options := optionsOf(t)
	right := image.handle.number.Load()
	defer image.handle.number.Store(right)
	for _, wrong := range []uintptr{
		options.handle.number.Load(), image.engine.queue.number.Load(), 1, 4096, ^uintptr(0), right + 1, right + 8,
		right ^ 1<<20,
	} {
		image.handle.number.Store(wrong)
		wantAllInvalid(t, imageCalls(image))
		// A Close that the library refuses must not leave the engine: the image is open still.
		fake := &openImage{}
		fake.handle.number.Store(wrong)
		_, err := fake.close()
		wantErrno(t, err, syscall.EINVAL)
	}
	image.handle.number.Store(right)
	wantBytes(t, readAt(t, image, 0, 512), filled(1, 512))
}

func Test900MisuseOfAnotherKindOfOptions(t *testing.T) {
	image, path := openCopy(t, "plain.qcow2")
	options := &Options{}
	options.handle.number.Store(image.handle.number.Load())
	wantErrno(t, options.Set("cache-size", "1M"), syscall.EINVAL)
	_, err := Open(path, options, ReadOnly)
	wantErrno(t, err, syscall.EINVAL)
	wantErrno(t, options.Close(), syscall.EINVAL)
	wantBytes(t, readAt(t, image, 0, 512), filled(1, 512))
}

// Of many that close at a time one succeeds.
func Test900MisuseCloseOfManyGoroutines(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	for round := 0; round < 20; round++ {
		image, err := Open(path, nil, 0)
		must(t, err)
		results := make(chan error, 8)
		for g := 0; g < cap(results); g++ {
			go func() { results <- image.Close() }()
		}
		closed := 0
		for g := 0; g < cap(results); g++ {
			if err := receive(t, "a close", results); err == nil {
				closed++
			} else {
				wantErrno(t, err, syscall.EINVAL)
			}
		}
		want(t, "closes that succeeded", closed, 1)
	}
}

func Test900MisuseOfTheZeroValue(t *testing.T) {
	wantErrno(t, new(Image).Close(), syscall.EINVAL)
	wantErrno(t, new(LoopImage).Close(), syscall.EINVAL)
	wantErrno(t, new(Device).Close(), syscall.EINVAL)
	wantErrno(t, new(Options).Close(), syscall.EINVAL)
	_, err := new(Image).ReadAt(make([]byte, 512), 0)
	wantErrno(t, err, syscall.EINVAL)
	wantErrno(t, new(Image).Flush(), syscall.EINVAL)
	wantErrno(t, new(Device).OnEvent(func(Event) {}), syscall.EINVAL)
}

// What was closed stays closed, also when others have been opened since.
func Test900MisuseOldHandlesAreNotNewOnes(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	old := &openImage{}
	for n := 0; n < 50; n++ {
		image := openPath(t, path, nil, 0)
		if n == 0 {
			old.handle.number.Store(image.handle.number.Load())
		} else {
			_, err := old.Size()
			wantErrno(t, err, syscall.EINVAL)
		}
		must(t, image.Close())
	}
}

func deviceCalls(device *Device) map[string]func() error {
	return map[string]func() error{
		"Name":       func() error { _, err := device.Name(); return err },
		"URI":        func() error { _, err := device.URI(); return err },
		"Path":       func() error { _, err := device.Path(); return err },
		"State":      func() error { _, err := device.State(); return err },
		"StatusJSON": func() error { _, err := device.StatusJSON(); return err },
		"Status":     func() error { _, err := device.Status(); return err },
		"Suspend":    func() error { return device.Suspend(DefaultTimeout) },
		"Resume":     func() error { return device.Resume(DefaultTimeout, 0) },
		"Detach":     func() error { return device.Detach(DefaultTimeout, 0) },
		"OnEvent":    func() error { return device.OnEvent(func(Event) {}) },
		"OnEvent(0)": func() error { return device.OnEvent(nil) },
		"Close":      device.Close,
	}
}

func Test900MisuseOfAClosedDevice(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Close())
	wantAllInvalid(t, deviceCalls(device.Device))
}

func Test900MisuseOfWhatIsNotADevice(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, wrong := range []uintptr{image.handle.number.Load(), image.engine.queue.number.Load(), 1, ^uintptr(0)} {
		for name := range deviceCalls(&Device{}) {
			// A new one for each: Close leaves none.
			device := &Device{}
			device.handle.number.Store(wrong)
			wantAllInvalid(t, map[string]func() error{name: deviceCalls(device)[name]})
		}
	}
	device := attach(t, "plain.qcow2")
	right := image.handle.number.Load()
	defer image.handle.number.Store(right)
	image.handle.number.Store(device.handle.number.Load())
	wantAllInvalid(t, imageCalls(image))
	wantState(t, device.Device, StateRunning)
}

// A queue with requests in it is not ended, and one that is ended takes none.
func Test900MisuseOfQueues(t *testing.T) {
	image, _ := openCopy(t, "compressed.qcow2")
	release := held(t, image)
	ended := make(chan error, 1)
	go func() { ended <- image.Flush() }()
	eventually(t, "it is in flight", func() bool { return inFlightNow(t, image) == 1 })
	wantErrno(t, closeQueue(image.engine.queue.number.Load()), syscall.EBUSY)
	release()
	must(t, receive(t, "the flush", ended))

	wantErrno(t, closeQueue(0), syscall.EINVAL)
	wantErrno(t, closeQueue(image.handle.number.Load()), syscall.EINVAL)
	right := image.engine.queue.number.Load()
	image.engine.queue.number.Store(image.handle.number.Load())
	err := image.Flush()
	image.engine.queue.number.Store(right)
	wantErrno(t, err, syscall.EINVAL)
	must(t, image.Flush())
}

// A library that is a guest must not print.
func Test900MisuseIsNotPrinted(t *testing.T) {
	output := run(t, "/proc/self/exe", "-test.run", "^Test(900MisuseOfAClosedImage|020.*|110.*Damaged.*)$")
	for _, line := range strings.Split(strings.TrimSpace(output), "\n") {
		if line != "PASS" {
			t.Errorf("something was printed: %s", line)
		}
	}
}

// The garbage collector finds nothing to collect that is still in use.
func Test900MisuseOfForgottenResults(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	var all sync.WaitGroup
	for n := int64(0); n < 64; n++ {
		all.Add(1)
		p := make([]byte, 64*kib)
		value := byte(n + 1)
		must(t, image.Async().ReadAt(p, n*64*kib, func(_ int, err error) {
			defer all.Done()
			// p is reachable from here only.
			if err != nil || p[0] != value || p[len(p)-1] != value {
				t.Errorf("%v, %#x", err, p[0])
			}
		}))
		if n%8 == 0 {
			runtime.GC()
		}
	}
	all.Wait()
	must(t, image.FlushContext(context.Background()))
}
