package qcow2blk

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func Test410SuspendLeavesTheFileToOthers(t *testing.T) {
	device := attach(t, "plain.qcow2")
	nbdIO(t, device.uri, "write -P 0x41 0 64k")
	must(t, device.Suspend(DefaultTimeout))
	wantState(t, device.Device, StateSuspended)
	qemuIO(t, device.path, "read -P 0x41 0 64k")
	mustCheck(t, device.path)
	run(t, "qemu-img", "snapshot", "-c", "while-suspended", device.path)
	must(t, device.Resume(DefaultTimeout, 0))
	wantState(t, device.Device, StateRunning)
	nbdIO(t, device.uri, "read -P 0x41 0 64k", "write -P 0x42 0 64k")
	must(t, device.Close())

	mustCheck(t, device.path)
	before := openPath(t, device.path, optionsOf(t, "snapshot", "while-suspended"), 0)
	wantBytes(t, readAt(t, before, 0, 64*kib), filled(0x41, 64*kib))
	must(t, before.Close())
	qemuIO(t, device.path, "read -P 0x42 0 64k")
}

// A client sees a pause, and no error.
func Test410SuspendHoldsRequests(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Suspend(DefaultTimeout))
	client := exec.Command("qemu-io", "-f", "raw", "-c", "read -P 1 0 64k", device.uri)
	var output strings.Builder
	client.Stdout, client.Stderr = &output, &output
	must(t, client.Start())
	ended := make(chan error, 1)
	go func() { ended <- client.Wait() }()
	select {
	case <-ended:
		t.Fatalf("the client did not wait: %s", output.String())
	case <-time.After(200 * time.Millisecond):
	}
	must(t, device.Resume(DefaultTimeout, 0))
	must(t, receive(t, "the client", ended))
	if strings.Contains(output.String(), "failed") {
		t.Fatal(output.String())
	}
}

func Test410SuspendTwiceSucceeds(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Suspend(time.Second))
	must(t, device.Suspend(time.Second))
	must(t, device.Resume(time.Second, 0))
	wantState(t, device.Device, StateRunning)
}

func Test410ResumeRefusesAFileInUse(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Suspend(DefaultTimeout))
	other := openPath(t, device.path, nil, 0)
	wantErrno(t, device.Resume(100*time.Millisecond, 0), syscall.EBUSY)
	wantState(t, device.Device, StateSuspended)
	must(t, other.Close())
	must(t, device.Resume(DefaultTimeout, 0))
}

func Test410ResumeOfASmallerDiskMustBeAllowed(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Suspend(DefaultTimeout))
	run(t, "qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", device.path, "32M")
	if device.Resume(DefaultTimeout, 0) == nil {
		t.Fatal("it was resumed")
	}
	wantState(t, device.Device, StateSuspended)
	must(t, device.Resume(DefaultTimeout, AllowShrink))
	nbdIO(t, device.uri, "read -P 1 0 64k")
}

func Test410SuspendOfABadTimeoutFails(t *testing.T) {
	device := attach(t, "plain.qcow2")
	wantErrno(t, device.Suspend(-2*time.Second), syscall.EINVAL)
	wantErrno(t, device.Resume(-2*time.Second, 0), syscall.EINVAL)
	wantErrno(t, device.Resume(DefaultTimeout, 1<<31), syscall.EINVAL)
	wantState(t, device.Device, StateRunning)
}

func Test410TimeoutsAreWholeMilliseconds(t *testing.T) {
	for timeout, wanted := range map[time.Duration]int{
		DefaultTimeout: -1, -time.Second: -2, 0: 0, 1: 1, time.Millisecond: 1, time.Second + 1: 1001, 1 << 62: 1<<31 - 1,
	} {
		want(t, timeout.String(), int(milliseconds(timeout)), wanted)
	}
}

// Many goroutines may tell a device what to do: each call succeeds or says why not.
func Test410SuspendOfManyGoroutines(t *testing.T) {
	device := attach(t, "plain.qcow2")
	results := make(chan error, 20)
	for n := 0; n < cap(results); n++ {
		go func(n int) {
			if n%2 == 0 {
				results <- device.Suspend(DefaultTimeout)
			} else {
				results <- device.Resume(DefaultTimeout, 0)
			}
		}(n)
	}
	for n := 0; n < cap(results); n++ {
		var failed *Error
		if err := receive(t, "a call", results); err != nil && !errors.As(err, &failed) {
			t.Error(err)
		}
	}
	must(t, device.Resume(DefaultTimeout, 0))
	wantState(t, device.Device, StateRunning)
	nbdIO(t, device.uri, "read -P 1 0 64k")
}
