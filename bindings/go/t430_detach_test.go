package qcow2blk

import (
	"os/exec"
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
