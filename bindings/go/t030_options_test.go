package qcow2blk

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func Test030OptionsAreUsed(t *testing.T) {
	options := optionsOf(t, "format", "raw")
	image := openPath(t, copyOf(t, "raw.img"), options, ReadOnly)
	wantBytes(t, readAt(t, image, mib-512, 512), filled(0x5a, 512))
}

func Test030OptionsServeManyImagesAndCanBeClosedBeforeThem(t *testing.T) {
	options := optionsOf(t, "cache-size", "4M")
	first := openPath(t, copyOf(t, "plain.qcow2"), options, 0)
	second := openPath(t, copyOf(t, "plain.qcow2"), options, 0)
	must(t, options.Close())
	wantBytes(t, readAt(t, first, 0, 512), filled(1, 512))
	wantBytes(t, readAt(t, second, 64*kib, 512), filled(2, 512))
}

func Test030OptionsThatDoNotExistAreRefused(t *testing.T) {
	options := optionsOf(t)
	for _, pair := range [][2]string{
		{"no-such-option", "1"}, {"", ""}, {"cache-size", "plenty"}, {"format", "vmdk"}, {"read-only", "maybe"},
		{"name\x00", "x"}, {"name", "x\x00y"},
	} {
		err := options.Set(pair[0], pair[1])
		wantErrno(t, err, syscall.EINVAL)
	}
	if err := options.Set("cache-size", "plenty"); !strings.Contains(err.Error(), "plenty") {
		t.Fatalf("%v does not tell the value", err)
	}
}

func Test030OptionsThatWereRefusedChangeNothing(t *testing.T) {
	options := optionsOf(t, "format", "raw")
	wantErrno(t, options.Set("format", "vmdk"), syscall.EINVAL)
	image := openPath(t, copyOf(t, "raw.img"), options, ReadOnly)
	version, err := image.FormatVersion()
	must(t, err)
	want(t, "format version", version, 0)
}

func Test030OptionsOfDevicesAreNotThoseOfImages(t *testing.T) {
	_, err := Open(copyOf(t, "plain.qcow2"), optionsOf(t, "name", "disk"), 0)
	wantErrno(t, err, syscall.EINVAL)
}

func Test030OptionsTakeOpenFilesOnly(t *testing.T) {
	file, err := os.Open(os.DevNull)
	must(t, err)
	must(t, file.Close())
	wantErrno(t, optionsOf(t).AddFile(file), syscall.EBADF)
	wantErrno(t, optionsOf(t).AddFile(nil), syscall.EBADF)
}

func Test030OptionsThatAreClosedAreRefused(t *testing.T) {
	options := optionsOf(t)
	must(t, options.Close())
	wantErrno(t, options.Close(), syscall.EINVAL)
	wantErrno(t, options.Set("cache-size", "1M"), syscall.EINVAL)
	file, err := os.Open(os.DevNull)
	must(t, err)
	defer file.Close()
	wantErrno(t, options.AddFile(file), syscall.EINVAL)
	_, err = Open(copyOf(t, "plain.qcow2"), options, 0)
	wantErrno(t, err, syscall.EINVAL)
	_, err = Attach(copyOf(t, "plain.qcow2"), options)
	wantErrno(t, err, syscall.EINVAL)
}

// The library wants one change at a time: that is this package's work, not the caller's.
func Test030OptionsMayBeUsedByManyGoroutines(t *testing.T) {
	options := optionsOf(t)
	path := copyOf(t, "plain.qcow2")
	var all sync.WaitGroup
	for g := 0; g < 8; g++ {
		all.Add(1)
		go func() {
			defer all.Done()
			if err := options.Set("cache-size", "2M"); err != nil {
				t.Error(err)
			}
			image, err := Open(path, options, ReadOnly)
			if err != nil {
				t.Error(err)
				return
			}
			if err := image.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
}
