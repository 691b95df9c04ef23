package qcow2blk

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
)

type walkFunc func(offset, length int64, visit func(Extent) bool) error

func walks(image *Image) map[string]walkFunc {
	return map[string]walkFunc{"queue": image.BlockStatus, "direct": image.Direct().BlockStatus}
}

// merged are extents of which no two neighbours are alike. It checks that there are no gaps.
func merged(t *testing.T, walk walkFunc, offset, length int64) []Extent {
	t.Helper()
	var found []Extent
	at := offset
	must(t, walk(offset, length, func(extent Extent) bool {
		want(t, "offset", extent.Offset, at)
		if extent.Length <= 0 {
			t.Fatalf("length %d at %d", extent.Length, at)
		}
		at += extent.Length
		last := len(found) - 1
		if last >= 0 && found[last].Flags == extent.Flags && found[last].Depth == extent.Depth {
			found[last].Length += extent.Length
		} else {
			found = append(found, extent)
		}
		return true
	}))
	want(t, "end", at, offset+length)
	return found
}

func Test260BlockStatusTellsWhereDataIs(t *testing.T) {
	image, _ := openCopy(t, "overlay.qcow2")
	for name, walk := range walks(image) {
		got := merged(t, walk, 0, 16*mib)
		wanted := []Extent{
			{0, 512 * kib, 0, 2},
			{512 * kib, 256 * kib, 0, 1},
			{768 * kib, 64 * kib, Zero, 1},
			{832 * kib, 192 * kib, 0, 2},
			{mib, 15 * mib, Zero | Hole, 0},
		}
		// Whether zeroes of qemu-io have space is qemu's choice.
		for n := range got {
			if n == 2 {
				got[n].Flags &^= Hole
			}
		}
		want(t, name+": extents", len(got), len(wanted))
		for n := range got {
			want(t, name+": extent", got[n], wanted[n])
		}
	}
}

func Test260BlockStatusIsThatOfQemu(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	qemuIO(t, path, "discard 128k 64k", "write -P 1 7M 1k")
	var mapped []struct {
		Start, Length int64
		Zero          bool
	}
	must(t, json.Unmarshal([]byte(run(t, "qemu-img", "map", "--output=json", path)), &mapped))
	isZero := func(offset int64) bool {
		for _, part := range mapped {
			if offset >= part.Start && offset < part.Start+part.Length {
				return part.Zero
			}
		}
		t.Fatalf("qemu-img map has nothing at %d", offset)
		return false
	}
	image := openPath(t, path, nil, 0)
	for name, walk := range walks(image) {
		for _, extent := range merged(t, walk, 0, 64*mib) {
			want(t, name+": zero at its start", extent.IsZero(), isZero(extent.Offset))
			want(t, name+": zero at its end", extent.IsZero(), isZero(extent.Offset+extent.Length-1))
		}
	}
}

func Test260BlockStatusIsCutToTheRange(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, walk := range walks(image) {
		got := merged(t, walk, 1000, 5000)
		want(t, "extents", len(got), 1)
		want(t, "extent", got[0], Extent{1000, 5000, 0, 1})
	}
}

// More extents than one request of the queue brings.
func Test260BlockStatusOfManyExtents(t *testing.T) {
	image, _ := openCopy(t, "empty.qcow2")
	const written = 400
	for n := int64(0); n < written; n++ {
		writeAt(t, image, filled(1, 64*kib), n*128*kib)
	}
	for _, walk := range walks(image) {
		got := merged(t, walk, 0, 64*mib)
		want(t, "extents", len(got), 2*written)
	}
}

func Test260BlockStatusEndsWhenToldTo(t *testing.T) {
	image, _ := openCopy(t, "overlay.qcow2")
	for _, walk := range walks(image) {
		visits := 0
		must(t, walk(0, 16*mib, func(Extent) bool {
			visits++
			return visits < 2
		}))
		want(t, "visits", visits, 2)
	}
}

// No panic may pass through frames of the library.
func Test260BlockStatusLetsPanicsOut(t *testing.T) {
	image, _ := openCopy(t, "overlay.qcow2")
	for _, walk := range walks(image) {
		func() {
			defer func() { want(t, "panic", fmt.Sprint(recover()), "stop") }()
			_ = walk(0, 16*mib, func(Extent) bool { panic("stop") })
		}()
		merged(t, walk, 0, 16*mib)
	}
}

// Of the queue only: inside the library's call it cannot.
func Test260BlockStatusMayReadMeanwhile(t *testing.T) {
	image, _ := openCopy(t, "overlay.qcow2")
	must(t, image.BlockStatus(0, 16*mib, func(extent Extent) bool {
		readAt(t, image, extent.Offset, 512)
		return true
	}))
}

func Test260BlockStatusOfAnInvalidRangeFails(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, walk := range walks(image) {
		visit := func(Extent) bool { t.Error("it was called"); return true }
		wantErrno(t, walk(0, 65*mib, visit), syscall.EINVAL)
		wantErrno(t, walk(-1, 10, visit), syscall.EINVAL)
		wantErrno(t, walk(10, -1, visit), syscall.EINVAL)
	}
}
