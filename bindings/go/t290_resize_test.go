package qcow2blk

import (
	"syscall"
	"testing"
)

func Test290ResizeOfAnOpenImage(t *testing.T) {
	image, path := openCopy(t, "plain.qcow2")
	must(t, image.Resize(128*mib, 0))
	_, err := image.WriteAt(filled(9, 4096), 100*mib)
	must(t, err)
	wantBytes(t, readAt(t, image, 70*mib, 4096), filled(0, 4096))
	wantErrno(t, image.Resize(mib, 0), syscall.ERANGE)
	wantErrno(t, image.Resize(0, AllowShrink), syscall.EINVAL)
	must(t, image.Resize(mib, AllowShrink))
	size, err := image.Size()
	must(t, err)
	want(t, "size", size, mib)
	_, err = image.WriteAt([]byte{1}, mib)
	wantErrno(t, err, syscall.EINVAL)
	must(t, image.Close())
	mustCheck(t, path)
}

func Test290ResizeOfADevice(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Resize(128*mib, DefaultTimeout, 0))
	nbdIO(t, device.uri, "write -P 0xd7 100M 64k")
	wantErrno(t, device.Resize(mib, DefaultTimeout, 0), syscall.ERANGE)
	must(t, device.Resize(mib, DefaultTimeout, AllowShrink|ForceShrink))
	must(t, device.Close())
	mustCheck(t, device.path)
}
