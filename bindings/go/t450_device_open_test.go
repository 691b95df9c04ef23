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

func Test450DeviceOpenOfNoneFails(t *testing.T) {
	_, err := OpenDevice("no-such-device")
	wantErrno(t, err, syscall.ENODEV)
	_, err = OpenDevice("no\x00device")
	wantErrno(t, err, syscall.EINVAL)
}
