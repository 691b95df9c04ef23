package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"io"
	"math"
	"unsafe"
)

// The names of what is tried, in errors.
const (
	opRead        = "read"
	opWrite       = "write"
	opFlush       = "flush"
	opDiscard     = "discard"
	opWriteZeroes = "write zeroes"
	opBlockStatus = "block status"
)

var (
	_ io.ReaderAt = (*Image)(nil)
	_ io.WriterAt = (*Image)(nil)
	_ io.Closer   = (*Image)(nil)
)

// submission begins a request: memory is its buffer, and its end comes through the queue with the token.
type submission func(memory unsafe.Pointer, queue, token C.uintptr_t) C.q2_result

// perform begins a request and waits for it. use sees the buffer after it ended well, and before it is reused.
func (i *Image) perform(ctx context.Context, r *request, op string, offset, length int64, submit submission,
	use func(memory *buffer, result int64)) (int64, error) {
	token, ok := i.engine.register(r)
	if !ok {
		r.release()
		return 0, invalid(op, "the image is closed")
	}
	var memory unsafe.Pointer
	if r.memory != nil {
		memory = r.memory.base
	}
	if err := checked(op, submit(memory, i.engine.queue.get(), C.uintptr_t(token))); err != nil {
		i.engine.forget(token)
		r.release()
		return 0, err
	}
	result, err := r.wait(ctx)
	if err != nil {
		return 0, err
	}
	defer r.release()
	if result < 0 {
		return 0, failure(op, result, offset, length)
	}
	if use != nil {
		use(r.memory, result)
	}
	return result, nil
}

// ReadAt reads as io.ReaderAt says: short only at the end of the disk, with io.EOF.
func (i *Image) ReadAt(p []byte, offset int64) (int, error) {
	return i.ReadAtContext(context.Background(), p, offset)
}

// WriteAt writes as io.WriterAt says. What it wrote survives a loss of power after the next Flush.
func (i *Image) WriteAt(p []byte, offset int64) (int, error) {
	return i.WriteAtContext(context.Background(), p, offset, 0)
}

// ReadAtContext is ReadAt until the context ends.
func (i *Image) ReadAtContext(ctx context.Context, p []byte, offset int64) (int, error) {
	return i.ReadVAtContext(ctx, [][]byte{p}, offset)
}

// WriteAtContext is WriteAt until the context ends; flags: FUA.
func (i *Image) WriteAtContext(ctx context.Context, p []byte, offset int64, flags WriteFlags) (int, error) {
	return i.WriteVAtContext(ctx, [][]byte{p}, offset, flags)
}

// Flush makes everything survive a loss of power whose write had returned before.
func (i *Image) Flush() error { return i.FlushContext(context.Background()) }

// FlushContext is Flush until the context ends.
func (i *Image) FlushContext(ctx context.Context) error {
	return i.command(ctx, opFlush, 0, 0, func(_ unsafe.Pointer, queue, token C.uintptr_t) C.q2_result {
		return C.q2_aio_flush(i.handle.get(), queue, token)
	})
}

// Discard frees the clusters inside a range. Whole clusters read as zeroes afterwards; the rest is left as it is.
func (i *Image) Discard(offset, length int64) error {
	return i.DiscardContext(context.Background(), offset, length, 0)
}

// DiscardContext is Discard until the context ends; flags: FUA.
func (i *Image) DiscardContext(ctx context.Context, offset, length int64, flags WriteFlags) error {
	return i.command(ctx, opDiscard, offset, length, func(_ unsafe.Pointer, queue, token C.uintptr_t) C.q2_result {
		return C.q2_aio_discard(i.handle.get(), C.uint64_t(offset), C.uint64_t(length), queue, token, C.uint32_t(flags))
	})
}

// WriteZeroes makes a range read as zeroes, by the cheapest means.
func (i *Image) WriteZeroes(offset, length int64) error {
	return i.WriteZeroesContext(context.Background(), offset, length, 0)
}

// WriteZeroesContext is WriteZeroes until the context ends; flags: FUA, NoHole, FastZero.
func (i *Image) WriteZeroesContext(ctx context.Context, offset, length int64, flags WriteFlags) error {
	return i.command(ctx, opWriteZeroes, offset, length, func(_ unsafe.Pointer, queue, token C.uintptr_t) C.q2_result {
		return C.q2_aio_write_zeroes(i.handle.get(), C.uint64_t(offset), C.uint64_t(length), queue, token,
			C.uint32_t(flags))
	})
}

// command is a request that moves no data.
func (i *Image) command(ctx context.Context, op string, offset, length int64, submit submission) error {
	if err := checkRange(op, offset, length); err != nil {
		return err
	}
	r, err := i.newRequest(ctx, op, 0)
	if err != nil {
		return err
	}
	_, err = i.perform(ctx, r, op, offset, length, submit, nil)
	return err
}

// BlockStatus tells what a range holds, extent by extent, in order and without gaps, until visit returns false. Two
// neighbours may be alike.
func (i *Image) BlockStatus(offset, length int64, visit func(Extent) bool) error {
	return i.BlockStatusContext(context.Background(), offset, length, visit)
}

// BlockStatusContext is BlockStatus until the context ends. visit runs on the calling goroutine and may use the image.
func (i *Image) BlockStatusContext(ctx context.Context, offset, length int64, visit func(Extent) bool) error {
	if err := checkRange(opBlockStatus, offset, length); err != nil {
		return err
	}
	for end := offset + length; ; {
		extents, err := i.someExtents(ctx, offset, end-offset)
		if err != nil {
			return err
		}
		for _, extent := range extents {
			if !visit(extent) {
				return nil
			}
			offset = extent.Offset + extent.Length
		}
		if offset >= end {
			return nil
		}
	}
}

// someExtents are the first ones of a range, at least one.
func (i *Image) someExtents(ctx context.Context, offset, length int64) (extents []Extent, err error) {
	r, err := i.newRequest(ctx, opBlockStatus, smallestBuffer)
	if err != nil {
		return nil, err
	}
	submit := func(memory unsafe.Pointer, queue, token C.uintptr_t) C.q2_result {
		return C.q2_aio_block_status(i.handle.get(), C.uint64_t(offset), C.uint64_t(length),
			(*C.struct_qcow2blk_extent)(memory), extentsAtOnce, queue, token)
	}
	_, err = i.perform(ctx, r, opBlockStatus, offset, length, submit, func(memory *buffer, count int64) {
		extents = extentsIn(memory, count)
	})
	return extents, err
}

// checkRange refuses what would become a huge unsigned number. Whether the disk is that large, the library knows.
func checkRange(op string, offset, length int64) error {
	switch {
	case offset < 0:
		return invalid(op, "the offset is negative")
	case length < 0:
		return invalid(op, "the length is negative")
	case offset > math.MaxInt64-length:
		return invalid(op, "the range does not end")
	}
	return nil
}
