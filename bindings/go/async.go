package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// Async is an image whose requests end by a call of a function, on the thread of the image (of a LoopImage, inside
// Process). The function should be short, as all requests of the image wait for it. It may begin requests; what has to wait
// fails with EDEADLK there.
//
// A method returns nil if the request was accepted. Otherwise the function is not called. A request is accepted or refused
// at once: with EAGAIN if 65536 are in flight. Each holds memory of C as large as its data.
type Async struct {
	image *openImage
}

// Async is the image, used by requests that end in a callback.
func (i *openImage) Async() Async { return Async{i} }

// callback is a request on its way, and what to do at its end.
type callback struct {
	memory *buffer
	end    func(result int64)
}

//export goCompleted
func goCompleted(token C.uintptr_t, result C.int64_t) {
	number := cgo.Handle(token)
	c := number.Value().(*callback)
	number.Delete()
	c.end(int64(result))
	c.memory.release()
}

// begin submits a request whose buffer has that length. prepare fills the buffer, end sees its result.
func (a Async) begin(op string, length int, prepare func(memory *buffer), end func(memory *buffer, result int64),
	submit func(memory unsafe.Pointer, token C.uintptr_t) C.q2_result) error {
	memory, err := getBuffer(op, length)
	if err != nil {
		return err
	}
	if prepare != nil {
		prepare(memory)
	}
	number := cgo.NewHandle(&callback{memory, func(result int64) { end(memory, result) }})
	if err := checked(op, submit(memory.base, C.uintptr_t(number))); err != nil {
		number.Delete()
		memory.release()
		return err
	}
	return nil
}

// transferred tells a caller how much was moved.
func transferred(op string, offset, total, result int64, done func(n int, err error)) {
	if result < 0 {
		done(0, failure(op, result, offset, total))
		return
	}
	done(int(result), nil)
}

// ReadAt begins to read all of p, which must stay untouched until done is called.
func (a Async) ReadAt(p []byte, offset int64, done func(n int, err error)) error {
	return a.ReadVAt([][]byte{p}, offset, done)
}

// WriteAt begins to write p; flags: FUA. p was copied when it returns.
func (a Async) WriteAt(p []byte, offset int64, flags WriteFlags, done func(n int, err error)) error {
	return a.WriteVAt([][]byte{p}, offset, flags, done)
}

// ReadVAt begins to read into several buffers, up to 1024, which must stay untouched until done is called.
func (a Async) ReadVAt(buffers [][]byte, offset int64, done func(n int, err error)) error {
	total := totalOf(buffers)
	if err := checkRange(opRead, offset, total); err != nil {
		return err
	}
	end := func(memory *buffer, result int64) {
		if result >= 0 {
			scatter(buffers, memory.bytes(int(total)))
		}
		transferred(opRead, offset, total, result, done)
	}
	return a.begin(opRead, int(total), nil, end, func(memory unsafe.Pointer, token C.uintptr_t) C.q2_result {
		number := a.image.handle.get()
		if len(buffers) == 1 {
			return C.q2_aio_pread(number, memory, C.size_t(total), C.uint64_t(offset), 0, token)
		}
		lengths := lengthsOf(buffers)
		return C.q2_aio_preadv(number, memory, first(lengths), C.int(len(lengths)), C.uint64_t(offset), 0, token)
	})
}

// WriteVAt begins to write from several buffers, up to 1024; flags: FUA. They were copied when it returns.
func (a Async) WriteVAt(buffers [][]byte, offset int64, flags WriteFlags, done func(n int, err error)) error {
	total := totalOf(buffers)
	if err := checkRange(opWrite, offset, total); err != nil {
		return err
	}
	prepare := func(memory *buffer) { gather(memory.bytes(int(total)), buffers) }
	end := func(_ *buffer, result int64) { transferred(opWrite, offset, total, result, done) }
	return a.begin(opWrite, int(total), prepare, end, func(memory unsafe.Pointer, token C.uintptr_t) C.q2_result {
		number := a.image.handle.get()
		if len(buffers) == 1 {
			return C.q2_aio_pwrite(number, memory, C.size_t(total), C.uint64_t(offset), 0, token, C.uint32_t(flags))
		}
		lengths := lengthsOf(buffers)
		return C.q2_aio_pwritev(number, memory, first(lengths), C.int(len(lengths)), C.uint64_t(offset), 0, token,
			C.uint32_t(flags))
	})
}

// Flush begins to flush.
func (a Async) Flush(done func(err error)) error {
	return a.command(opFlush, 0, 0, done, func(token C.uintptr_t) C.q2_result {
		return C.q2_aio_flush(a.image.handle.get(), 0, token)
	})
}

// Discard begins to free the clusters inside a range; flags: FUA.
func (a Async) Discard(offset, length int64, flags WriteFlags, done func(err error)) error {
	return a.command(opDiscard, offset, length, done, func(token C.uintptr_t) C.q2_result {
		return C.q2_aio_discard(a.image.handle.get(), C.uint64_t(offset), C.uint64_t(length), 0, token, C.uint32_t(flags))
	})
}

// WriteZeroes begins to make a range read as zeroes; flags: FUA, NoHole, FastZero.
func (a Async) WriteZeroes(offset, length int64, flags WriteFlags, done func(err error)) error {
	return a.command(opWriteZeroes, offset, length, done, func(token C.uintptr_t) C.q2_result {
		return C.q2_aio_write_zeroes(a.image.handle.get(), C.uint64_t(offset), C.uint64_t(length), 0, token,
			C.uint32_t(flags))
	})
}

// command begins a request that moves no data.
func (a Async) command(op string, offset, length int64, done func(err error),
	submit func(token C.uintptr_t) C.q2_result) error {
	if err := checkRange(op, offset, length); err != nil {
		return err
	}
	number := cgo.NewHandle(&callback{nil, func(result int64) {
		if result < 0 {
			done(failure(op, result, offset, length))
			return
		}
		done(nil)
	}})
	if err := checked(op, submit(C.uintptr_t(number))); err != nil {
		number.Delete()
		return err
	}
	return nil
}

// BlockStatus begins to find out what a range holds. done gets at least one extent, from offset on and without gaps; they
// may end before the range does.
func (a Async) BlockStatus(offset, length int64, done func(extents []Extent, err error)) error {
	if err := checkRange(opBlockStatus, offset, length); err != nil {
		return err
	}
	end := func(memory *buffer, result int64) {
		if result < 0 {
			done(nil, failure(opBlockStatus, result, offset, length))
			return
		}
		done(extentsIn(memory, result), nil)
	}
	return a.begin(opBlockStatus, smallestBuffer, nil, end, func(memory unsafe.Pointer, token C.uintptr_t) C.q2_result {
		return C.q2_aio_block_status(a.image.handle.get(), C.uint64_t(offset), C.uint64_t(length),
			(*C.struct_qcow2blk_extent)(memory), extentsAtOnce, 0, token)
	})
}
