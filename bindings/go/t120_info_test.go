package qcow2blk

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func Test120InfoIsThatOfQemu(t *testing.T) {
	for _, name := range []string{"plain.qcow2", "overlay.qcow2", "v2.qcow2", "zstd.qcow2"} {
		path := copyOf(t, name)
		var qemu struct {
			VirtualSize     int64  `json:"virtual-size"`
			ClusterSize     int64  `json:"cluster-size"`
			BackingFilename string `json:"backing-filename"`
			FormatSpecific  struct {
				Data struct {
					Compat          string `json:"compat"`
					CompressionType string `json:"compression-type"`
				} `json:"data"`
			} `json:"format-specific"`
		}
		must(t, json.Unmarshal([]byte(run(t, "qemu-img", "info", "--output=json", path)), &qemu))
		image := openPath(t, path, nil, 0)

		size, err := image.Size()
		must(t, err)
		want(t, name+": size", size, qemu.VirtualSize)
		clusterSize, err := image.ClusterSize()
		must(t, err)
		want(t, name+": cluster size", clusterSize, qemu.ClusterSize)
		version, err := image.FormatVersion()
		must(t, err)
		want(t, name+": version", version, map[string]int{"0.10": 2, "1.1": 3}[qemu.FormatSpecific.Data.Compat])
		backing, err := image.BackingFile()
		must(t, err)
		want(t, name+": backing file", backing, qemu.BackingFilename)
		info, err := image.Info()
		must(t, err)
		want(t, name+": compression", info.Geometry.Compression, qemu.FormatSpecific.Data.CompressionType)
		want(t, name+": cluster size", info.Geometry.ClusterSize, qemu.ClusterSize)
	}
}

func Test120InfoTellsOfTheChain(t *testing.T) {
	image, path := openCopy(t, "overlay.qcow2")
	info, err := image.Info()
	must(t, err)
	want(t, "image", info.Image, path)
	want(t, "size", info.Geometry.Size, 16*mib)
	want(t, "files", len(info.Chain), 2)
	want(t, "first file", info.Chain[0].Path, path)
	want(t, "format", info.Chain[1].Format, "qcow2")
	if !strings.HasSuffix(info.Chain[1].Path, "base.qcow2") {
		t.Fatalf("the second file is %s", info.Chain[1].Path)
	}
	if info.Cache == nil || info.Error != "" {
		t.Fatalf("cache %v, error %q", info.Cache, info.Error)
	}
}

func Test120InfoIsJSON(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	document, err := image.InfoJSON()
	must(t, err)
	var members map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(document), &members))
	for _, name := range []string{"image", "geometry", "chain", "cache"} {
		if _, has := members[name]; !has {
			t.Errorf("no member %q in %s", name, document)
		}
	}
}

func Test120InfoOfARawImage(t *testing.T) {
	image := openPath(t, copyOf(t, "raw.img"), optionsOf(t, "format", "raw"), ReadOnly)
	version, err := image.FormatVersion()
	must(t, err)
	want(t, "version", version, 0)
	info, err := image.Info()
	must(t, err)
	want(t, "size", info.Geometry.Size, mib)
	want(t, "read-only", info.Geometry.ReadOnly, true)
}

func Test120InfoTellsWhetherItIsReadOnly(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	for flags, wanted := range map[OpenFlags]bool{0: false, ReadOnly: true} {
		image := openPath(t, path, nil, flags)
		is, err := image.IsReadOnly()
		must(t, err)
		want(t, "read-only", is, wanted)
		must(t, image.Close())
	}
}

// Longer than the buffer that is tried first.
func Test120InfoMayBeLong(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	const overlays = 40
	for n := 0; n < overlays; n++ {
		overlay := filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%d.qcow2", strings.Repeat("long", 20), n))
		run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", path, "-F", "qcow2", overlay)
		path = overlay
	}
	image := openPath(t, path, nil, 0)
	document, err := image.InfoJSON()
	must(t, err)
	if len(document) <= firstTextSize {
		t.Fatalf("only %d bytes", len(document))
	}
	info, err := image.Info()
	must(t, err)
	want(t, "files", len(info.Chain), overlays+1)
}
