package qcow2blk

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func Test400AttachServesTheImage(t *testing.T) {
	device := attach(t, "overlay.qcow2")
	if !strings.HasPrefix(device.uri, "nbd+unix://") {
		t.Fatalf("the URI is %q", device.uri)
	}
	var info struct {
		VirtualSize int64 `json:"virtual-size"`
	}
	must(t, json.Unmarshal([]byte(run(t, "qemu-img", "info", "--output=json", "-f", "raw", device.uri)), &info))
	want(t, "size", info.VirtualSize, 16*mib)
	run(t, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", source(t, "overlay.qcow2"), device.uri)
	wantState(t, device.Device, StateRunning)
}

func Test400AttachTakesWrites(t *testing.T) {
	device := attach(t, "plain.qcow2")
	nbdIO(t, device.uri, "write -P 0xd7 100k 300k", "write -z 1M 1M", "flush", "read -P 0xd7 100k 300k")
	must(t, device.Close())
	qemuIO(t, device.path, "read -P 0xd7 100k 300k", "read -P 0 1M 1M", "read -P 1 0 64k")
	mustCheck(t, device.path)
}

func Test400AttachGivesANameAndNoNode(t *testing.T) {
	device := attach(t, "plain.qcow2", "name", "sda")
	name, err := device.Name()
	must(t, err)
	want(t, "name", name, "sda")
	path, err := device.Path()
	must(t, err)
	want(t, "path", path, "")
}

func Test400AttachManyInOneProcess(t *testing.T) {
	names := map[string]bool{}
	for n := 0; n < 5; n++ {
		device := attach(t, "plain.qcow2")
		name, err := device.Name()
		must(t, err)
		names[name] = true
		nbdIO(t, device.uri, "read -P 1 0 64k")
	}
	want(t, "names", len(names), 5)
}

func Test400AttachLocksTheImage(t *testing.T) {
	device := attach(t, "plain.qcow2")
	wantErrno(t, openError(t, device.path, 0), syscall.EBUSY)
	must(t, device.Close())
	must(t, openError(t, device.path, 0))
}

// It would have to open them again after a suspend.
func Test400AttachTakesNoOpenFiles(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	options := optionsOf(t, "socket", socket(t))
	must(t, options.AddFile(openFile(t, path, os.O_RDWR)))
	_, err := Attach(path, options)
	wantErrno(t, err, syscall.EINVAL)
	_, err = Attach("", options)
	wantErrno(t, err, syscall.EINVAL)
}

func Test400AttachTellsWhyItFails(t *testing.T) {
	options := optionsOf(t, "socket", socket(t))
	_, err := Attach(filepath.Join(t.TempDir(), "none.qcow2"), options)
	wantErrno(t, err, syscall.ENOENT)
	_, err = Attach(copyOf(t, "damaged.qcow2"), options)
	wantErrno(t, err, syscall.EUCLEAN)
	_, err = Attach("", options)
	wantErrno(t, err, syscall.EINVAL)
	_, err = Attach("disk\x00.qcow2", options)
	wantErrno(t, err, syscall.EINVAL)

	device := attach(t, "plain.qcow2")
	_, err = Attach(device.path, options)
	wantErrno(t, err, syscall.EBUSY)
	where, err := device.URI()
	must(t, err)
	_, err = Attach(copyOf(t, "plain.qcow2"), optionsOf(t, "socket", where[strings.Index(where, "socket=")+len("socket="):]))
	wantErrno(t, err, syscall.EADDRINUSE)
}

// Where the kernel has no such device, or the command that serves it is not installed, the error says so.
func Test400AttachOfABlockDevice(t *testing.T) {
	device, err := Attach(copyOf(t, "plain.qcow2"), nil)
	if err != nil {
		var failed *Error
		if !errors.As(err, &failed) {
			t.Fatalf("%v is not an *Error", err)
		}
		switch failed.Errno {
		case syscall.ENOTSUP, syscall.ENOEXEC, syscall.EPERM:
			t.Logf("no block device here: %v", err)
		default:
			t.Fatalf("errno %d: %v", failed.Errno, err)
		}
		return
	}
	path, err := device.Path()
	must(t, err)
	if !strings.HasPrefix(path, "/dev/") {
		t.Errorf("the node is %q", path)
	}
	p := make([]byte, 512)
	node := openFile(t, path, os.O_RDONLY)
	_, err = node.ReadAt(p, 0)
	must(t, err)
	wantBytes(t, p, filled(1, 512))
	must(t, node.Close())
	must(t, device.Detach(DefaultTimeout, 0))
	must(t, device.Close())
}
