package qcow2blk

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func Test430DetachWritesEverythingDown(t *testing.T) {
	device := attach(t, "empty.qcow2")
	nbdIO(t, device.uri, "write -P 0x43 1M 128k")
	must(t, device.Detach(DefaultTimeout, 0))
	wantState(t, device.Device, StateEnded)
	qemuIO(t, device.path, "read -P 0x43 1M 128k")
	mustCheck(t, device.path)
	if exec.Command("qemu-img", "info", "-f", "raw", device.uri).Run() == nil {
		t.Error("it is served still")
	}
	must(t, device.Close())
}

func Test430DetachTwiceFails(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Detach(DefaultTimeout, 0))
	wantErrno(t, device.Detach(DefaultTimeout, 0), syscall.ESRCH)
	wantErrno(t, device.Suspend(DefaultTimeout), syscall.ESRCH)
	wantErrno(t, device.Resume(DefaultTimeout, 0), syscall.ESRCH)
	must(t, device.Close())
	wantErrno(t, device.Close(), syscall.EINVAL)
}

func Test430DetachOfASuspendedDevice(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Suspend(DefaultTimeout))
	must(t, device.Detach(DefaultTimeout, Force))
	wantState(t, device.Device, StateEnded)
	mustCheck(t, device.path)
}

func Test430DetachOfBadArgumentsFails(t *testing.T) {
	device := attach(t, "plain.qcow2")
	wantErrno(t, device.Detach(-2*time.Second, 0), syscall.EINVAL)
	wantErrno(t, device.Detach(DefaultTimeout, 1<<31), syscall.EINVAL)
	wantState(t, device.Device, StateRunning)
}

func Test430DetachLeavesNothingBehind(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	where := socket(t)
	options := optionsOf(t, "socket", where)
	round := func() {
		device, err := Attach(path, options)
		must(t, err)
		must(t, device.OnEvent(func(Event) {}))
		must(t, device.Close())
	}
	for n := 0; n < 10; n++ {
		round()
	}
	before, files, tasks, devices := goroutines(), descriptors(t), threads(t), devicesLeft(t)
	for n := 0; n < 50; n++ {
		round()
	}
	wantGoroutines(t, before)
	eventually(t, "the descriptors are closed", func() bool { return descriptors(t) <= files })
	eventually(t, "the threads have ended", func() bool { return threads(t) <= tasks+4 })
	want(t, "files in the folder of the socket", entries(t, filepath.Dir(where)), 0)
	want(t, "files in the runtime directory", devicesLeft(t), devices)
}

// devicesLeft is how many state files there are.
func devicesLeft(t *testing.T) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.Getenv("QCOW2BLK_RUNTIME_DIR"), "*.json"))
	must(t, err)
	return len(found)
}
