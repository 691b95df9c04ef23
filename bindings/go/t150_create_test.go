package qcow2blk

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func Test150CreateMakesWhatQemuSees(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.qcow2")
	options := optionsOf(t, "cluster_size", "128K", "extended_l2", "on")
	must(t, Create(path, 8*mib, options, 0))
	info := run(t, "qemu-img", "info", "--output=json", path)
	for _, part := range []string{`"virtual-size": 8388608`, `"cluster-size": 131072`, `"extended-l2": true`} {
		if !strings.Contains(info, part) {
			t.Errorf("%s is not in %s", part, info)
		}
	}
	wantErrno(t, Create(path, mib, nil, 0), syscall.EEXIST)
	must(t, Create(path, mib, nil, Replace))
	size, err := openPath(t, path, nil, 0).Size()
	must(t, err)
	want(t, "size", size, mib)
	wantErrno(t, Create(path, mib, nil, Replace), syscall.EBUSY)
}

func Test150CreateOverlay(t *testing.T) {
	path := filepath.Join(filepath.Dir(copyOf(t, "overlay.qcow2")), "top.qcow2")
	must(t, Create(path, BackingSize, optionsOf(t, "backing_file", "overlay.qcow2", "backing_fmt", "qcow2"), 0))
	image := openPath(t, path, nil, 0)
	wantBytes(t, readAt(t, image, 512*kib, 64*kib), filled(0x22, 64*kib))
}

func Test150CreateRefusesWhatIsNotForIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.qcow2")
	wantErrno(t, Create(path, mib, optionsOf(t, "cache-size", "2M"), 0), syscall.EINVAL)
	wantErrno(t, Create(path, BackingSize, nil, 0), syscall.EINVAL)
	wantErrno(t, Create("a\x00b", mib, nil, 0), syscall.EINVAL)
	wantErrno(t, optionsOf(t).Set("cluster_size", "100K"), syscall.EINVAL)
}

func Test150CreateEncryptedAndOpenWithTheKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "luks.qcow2")
	options := optionsOf(t, "encrypt.format", "luks", "encrypt.iter-time", "10")
	wantErrno(t, options.SetKey(nil), syscall.EINVAL)
	wantErrno(t, Create(path, mib, options, 0), syscall.EINVAL)
	must(t, options.SetKey([]byte("open sesame")))
	must(t, Create(path, mib, options, 0))
	wantErrno(t, openError(t, path, 0), syscall.ENOENT)
	options = optionsOf(t)
	must(t, options.SetKey([]byte("open sesame")))
	image := openPath(t, path, options, 0)
	must(t, options.Close())
	_, err := image.WriteAt(filled(0x5a, 4096), 0)
	must(t, err)
	wantBytes(t, readAt(t, image, 0, 4096), filled(0x5a, 4096))
}
