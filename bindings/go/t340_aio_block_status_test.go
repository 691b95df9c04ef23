package qcow2blk

import (
	"context"
	"errors"
	"syscall"
	"testing"
)

// asyncWalk makes a whole walk of requests, each of which may end early.
func asyncWalk(t *testing.T, async Async) walkFunc {
	return func(offset, length int64, visit func(Extent) bool) error {
		type answer struct {
			extents []Extent
			err     error
		}
		for end := offset + length; offset < end; {
			ended := make(chan answer, 1)
			err := async.BlockStatus(offset, end-offset, func(extents []Extent, err error) { ended <- answer{extents, err} })
			if err != nil {
				return err
			}
			got := receive(t, "the block status", ended)
			if got.err != nil {
				return got.err
			}
			if len(got.extents) == 0 {
				t.Fatal("no extents")
			}
			for _, extent := range got.extents {
				if !visit(extent) {
					return nil
				}
				offset = extent.Offset + extent.Length
			}
		}
		return nil
	}
}

func Test340AioBlockStatusIsThatOfTheOthers(t *testing.T) {
	for _, name := range []string{"overlay.qcow2", "plain.qcow2", "compressed.qcow2", "v2.qcow2"} {
		image, _ := openCopy(t, name)
		size, err := image.Size()
		must(t, err)
		wanted := merged(t, image.Direct().BlockStatus, 0, size)
		for _, walk := range []walkFunc{image.BlockStatus, asyncWalk(t, image.Async())} {
			got := merged(t, walk, 0, size)
			want(t, name+": extents", len(got), len(wanted))
			for n := range got {
				want(t, name+": extent", got[n], wanted[n])
			}
		}
	}
}

func Test340AioBlockStatusOfManyExtents(t *testing.T) {
	image, _ := openCopy(t, "empty.qcow2")
	const written = 400
	for n := int64(0); n < written; n++ {
		writeAt(t, image, filled(1, 64*kib), n*128*kib)
	}
	want(t, "extents", len(merged(t, asyncWalk(t, image.Async()), 0, 64*mib)), 2*written)
}

func Test340AioBlockStatusOfAnInvalidRangeIsRefused(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	never := func([]Extent, error) { t.Error("it was called") }
	for _, at := range [][2]int64{{0, 65 * mib}, {-1, 10}, {0, -1}, {0, 0}} {
		wantErrno(t, image.Async().BlockStatus(at[0], at[1], never), syscall.EINVAL)
	}
	must(t, image.Flush())
}

func Test340AioBlockStatusReturnsWhenItsContextEnds(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	ctx, cancel := context.WithCancel(context.Background())
	err := image.BlockStatusContext(ctx, 0, 64*mib, func(Extent) bool {
		cancel()
		return true
	})
	// It may have come to its end with the extents that it had.
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	err = image.BlockStatusContext(ctx, 0, 64*mib, func(Extent) bool { t.Error("it was called"); return true })
	want(t, "is Canceled", errors.Is(err, context.Canceled), true)
}
