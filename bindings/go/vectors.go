package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"fmt"
	"io"
	"unsafe"
)

// mostBuffers is how many a request of the library takes.
const mostBuffers = 1024

// ReadVAt is ReadAt into several buffers, one after the other.
func (i *Image) ReadVAt(buffers [][]byte, offset int64) (int, error) {
	return i.ReadVAtContext(context.Background(), buffers, offset)
}

// WriteVAt is WriteAt from several buffers, one after the other.
func (i *Image) WriteVAt(buffers [][]byte, offset int64) (int, error) {
	return i.WriteVAtContext(context.Background(), buffers, offset, 0)
}

// ReadVAtContext is ReadVAt until the context ends.
func (i *Image) ReadVAtContext(ctx context.Context, buffers [][]byte, offset int64) (int, error) {
	total := totalOf(buffers)
	if err := i.checkTransfer(ctx, opRead, offset, total); err != nil {
		return 0, err
	}
	var atEnd error
	if rest := i.size.Load() - offset; total > rest {
		if rest < 0 {
			rest = 0
		}
		total, atEnd = rest, io.EOF
	}
	done, err := i.inPieces(buffers, total, func(piece [][]byte, length int, at int64) error {
		return i.readPiece(ctx, piece, length, offset+at)
	})
	if err == nil {
		err = atEnd
	}
	return int(done), err
}

// WriteVAtContext is WriteVAt until the context ends; flags: FUA. What does not fit on the disk is not begun.
func (i *Image) WriteVAtContext(ctx context.Context, buffers [][]byte, offset int64, flags WriteFlags) (int, error) {
	total := totalOf(buffers)
	if err := i.checkTransfer(ctx, opWrite, offset, total); err != nil {
		return 0, err
	}
	if total > i.size.Load()-offset {
		return 0, invalid(opWrite, fmt.Sprintf("cannot write %d bytes at %d: the disk ends at %d", total, offset, i.size.Load()))
	}
	done, err := i.inPieces(buffers, total, func(piece [][]byte, length int, at int64) error {
		return i.writePiece(ctx, piece, length, offset+at, flags)
	})
	return int(done), err
}

// checkTransfer is for what the library does not see, as a transfer of nothing.
func (i *Image) checkTransfer(ctx context.Context, op string, offset, total int64) error {
	if i.handle.get() == 0 {
		return invalid(op, "the image is closed")
	}
	if err := checkRange(op, offset, total); err != nil {
		return err
	}
	return ctx.Err()
}

// inPieces cuts a transfer into requests, of largestTransfer bytes and mostBuffers buffers at most, and makes them one
// after the other. It returns how many bytes were moved.
func (i *Image) inPieces(buffers [][]byte, total int64, move func(piece [][]byte, length int, at int64) error) (
	done int64, err error) {
	var room [8][]byte  // no allocation for a few
	next, taken := 0, 0 // the buffer that is next, and how much of it is in earlier pieces
	for done < total {
		piece, length := room[:0], 0
		most := int(min64(total-done, largestTransfer))
		for length < most && len(piece) < mostBuffers {
			rest := buffers[next][taken:]
			if len(rest) > most-length {
				rest = rest[:most-length]
			}
			taken += len(rest)
			length += len(rest)
			if len(rest) > 0 {
				piece = append(piece, rest)
			}
			if taken == len(buffers[next]) {
				next, taken = next+1, 0
			}
		}
		if err := move(piece, length, done); err != nil {
			return done, err
		}
		done += int64(length)
	}
	return done, nil
}

func (i *Image) readPiece(ctx context.Context, piece [][]byte, length int, offset int64) error {
	r, err := i.newRequest(ctx, opRead, length)
	if err != nil {
		return err
	}
	submit := func(memory unsafe.Pointer, queue, token C.uintptr_t) C.q2_result {
		if len(piece) == 1 {
			return C.q2_aio_pread(i.handle.get(), memory, C.size_t(length), C.uint64_t(offset), queue, token)
		}
		lengths := lengthsOf(piece)
		return C.q2_aio_preadv(i.handle.get(), memory, &lengths[0], C.int(len(lengths)), C.uint64_t(offset), queue, token)
	}
	_, err = i.perform(ctx, r, opRead, offset, int64(length), submit, func(memory *buffer, _ int64) {
		scatter(piece, memory.bytes(length))
	})
	return err
}

func (i *Image) writePiece(ctx context.Context, piece [][]byte, length int, offset int64, flags WriteFlags) error {
	r, err := i.newRequest(ctx, opWrite, length)
	if err != nil {
		return err
	}
	gather(r.memory.bytes(length), piece)
	submit := func(memory unsafe.Pointer, queue, token C.uintptr_t) C.q2_result {
		if len(piece) == 1 {
			return C.q2_aio_pwrite(i.handle.get(), memory, C.size_t(length), C.uint64_t(offset), queue, token,
				C.uint32_t(flags))
		}
		lengths := lengthsOf(piece)
		return C.q2_aio_pwritev(i.handle.get(), memory, &lengths[0], C.int(len(lengths)), C.uint64_t(offset), queue, token,
			C.uint32_t(flags))
	}
	_, err = i.perform(ctx, r, opWrite, offset, int64(length), submit, nil)
	return err
}

func totalOf(buffers [][]byte) int64 {
	total := int64(0)
	for _, buffer := range buffers {
		total += int64(len(buffer))
	}
	return total
}

func lengthsOf(buffers [][]byte) []C.size_t {
	lengths := make([]C.size_t, len(buffers))
	for n, buffer := range buffers {
		lengths[n] = C.size_t(len(buffer))
	}
	return lengths
}

func scatter(buffers [][]byte, data []byte) {
	for _, buffer := range buffers {
		data = data[copy(buffer, data):]
	}
}

func gather(data []byte, buffers [][]byte) {
	for _, buffer := range buffers {
		data = data[copy(data, buffer):]
	}
}

func min64(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
