package qcow2blk

import (
	"syscall"
	"testing"
)

func Test450DeviceOpenFindsADeviceOfThisProcess(t *testing.T) {
	device := attach(t, "plain.qcow2", "name", "disk450")
	for _, target := range []string{"disk450", device.path, device.uri} {
		same, err := OpenDevice(target)
		must(t, err)
		name, err := same.Name()
		must(t, err)
		want(t, "name", name, "disk450")
		uri, err := same.URI()
		must(t, err)
		want(t, "URI", uri, device.uri)
		must(t, same.Suspend(DefaultTimeout))
		wantState(t, device.Device, StateSuspended)
		must(t, same.Resume(DefaultTimeout, 0))
		must(t, same.Close())
		// It was only a handle.
		wantState(t, device.Device, StateRunning)
	}
}

func Test450DeviceOpenMayDetach(t *testing.T) {
	device := attach(t, "plain.qcow2", "name", "disk450b")
	same, err := OpenDevice("disk450b")
	must(t, err)
	must(t, same.Detach(DefaultTimeout, 0))
	must(t, same.Close())
	eventually(t, "the device has ended", func() bool {
		state, err := device.State()
		return err == nil && state == StateEnded
	})
}

func Test450DeviceOpenFindsADeviceOfAnotherProcess(t *testing.T) {
	other := startServer(t, "plain.qcow2")
	device, err := OpenDevice(other.path)
	must(t, err)
	status, err := device.Status()
	must(t, err)
	want(t, "process", status.PID, other.command.Process.Pid)
	uri, err := device.URI()
	must(t, err)
	nbdIO(t, uri, "read -P 1 0 64k")

	must(t, device.Suspend(DefaultTimeout))
	wantState(t, device, StateSuspended)
	run(t, "qemu-img", "snapshot", "-c", "by-another", other.path)
	must(t, device.Resume(DefaultTimeout, 0))
	nbdIO(t, uri, "write -P 0x45 0 64k")

	// Close lets go of it only.
	must(t, device.Close())
	nbdIO(t, uri, "read -P 0x45 0 64k")
	must(t, other.input.Close())
	must(t, other.command.Wait())
	qemuIO(t, other.path, "read -P 0x45 0 64k")
	mustCheck(t, other.path)
}

func Test450DeviceOpenHearsOfAnotherProcess(t *testing.T) {
	other := startServer(t, "plain.qcow2")
	device, err := OpenDevice(other.path)
	must(t, err)
	defer device.Close()
	var seen events
	must(t, device.OnEvent(seen.add))
	eventually(t, "the first event came", func() bool { return seen.count() > 0 })
	same, err := OpenDevice(other.path)
	must(t, err)
	must(t, same.Suspend(DefaultTimeout))
	must(t, same.Close())
	eventually(t, "the suspend was told", func() bool {
		return seen.has(func(event Event) bool { return event.State == StateSuspended })
	})
}

func Test450DeviceOpenOfADeadServer(t *testing.T) {
	other := startServer(t, "plain.qcow2")
	device, err := OpenDevice(other.path)
	must(t, err)
	other.kill(t)
	eventually(t, "the device has ended", func() bool {
		state, err := device.State()
		return err == nil && state == StateEnded
	})
	wantErrno(t, device.Suspend(DefaultTimeout), syscall.ESRCH)
	must(t, device.Close())
	_, err = OpenDevice(other.path)
	wantErrno(t, err, syscall.ECONNREFUSED)
}

func Test450DeviceOpenOfNoneFails(t *testing.T) {
	_, err := OpenDevice("no-such-device")
	wantErrno(t, err, syscall.ENODEV)
	_, err = OpenDevice("no\x00device")
	wantErrno(t, err, syscall.EINVAL)
}
