package qcow2blk

import (
	"os"
	"path/filepath"
	"testing"
)

// openFile is a file that a privileged parent could have opened.
func openFile(t *testing.T, path string, mode int) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, mode, 0)
	must(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func Test140DescriptorsOpenAChainWithoutNames(t *testing.T) {
	path := copyOf(t, "overlay.qcow2")
	base := filepath.Join(filepath.Dir(path), "base.qcow2")
	options := optionsOf(t)
	files := []*os.File{openFile(t, path, os.O_RDWR), openFile(t, base, os.O_RDONLY)}
	for _, file := range files {
		must(t, options.AddFile(file))
	}
	// Nobody can open them by name any more.
	must(t, os.Rename(base, base+".away"))
	must(t, os.Rename(path, path+".away"))

	image := openPath(t, "", options, 0)
	for _, file := range files {
		must(t, file.Close())
	}
	wantBytes(t, readAt(t, image, 0, 512), filled(0x11, 512))
	wantBytes(t, readAt(t, image, 512*kib, 512), filled(0x22, 512))
	writeAt(t, image, filled(0x77, 512), mib)
	must(t, image.Close())

	must(t, os.Rename(base+".away", base))
	qemuIO(t, path+".away", "read -P 0x77 1M 512", "read -P 0x11 0 512k")
	mustCheck(t, path+".away")
}

func Test140DescriptorsMustBeThoseOfTheWholeChain(t *testing.T) {
	options := optionsOf(t)
	must(t, options.AddFile(openFile(t, copyOf(t, "overlay.qcow2"), os.O_RDWR)))
	if image, err := Open("", options, 0); err == nil {
		_ = image.Close()
		t.Fatal("the backing file was opened by name")
	}
}

func Test140DescriptorsForReadingAreNotForWriting(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	options := optionsOf(t)
	must(t, options.AddFile(openFile(t, path, os.O_RDONLY)))
	if image, err := Open("", options, 0); err == nil {
		_ = image.Close()
		t.Fatal("it was opened for writing")
	}
	image := openPath(t, "", options, ReadOnly)
	wantBytes(t, readAt(t, image, 0, 512), filled(1, 512))
}

// A file that the caller has in Go's poller stays there.
func Test140DescriptorsStayTheCallers(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	file := openFile(t, path, os.O_RDWR)
	options := optionsOf(t)
	must(t, options.AddFile(file))
	must(t, openPath(t, "", options, 0).Close())
	must(t, options.Close())
	_, err := file.ReadAt(make([]byte, 4), 0)
	must(t, err)
}
