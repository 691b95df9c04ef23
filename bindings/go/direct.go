package qcow2blk

/*
#include "shim.h"
*/
import "C"

import "unsafe"

// Direct is an image whose I/O the calling thread does itself, without a copy, or waits for. It is the fastest way to
// data that the host has cached, and occupies an OS thread for as long as a call takes. Reads and writes are never short,
// and what is not on the disk fails with EINVAL.
type Direct struct {
	image *openImage
}

// Direct is the image, used by the calling thread.
func (i *openImage) Direct() Direct { return Direct{i} }

// ReadAt reads all of p or nothing. At the end of the disk it is not an io.ReaderAt: what lies past it is EINVAL.
func (d Direct) ReadAt(p []byte, offset int64) (int, error) {
	if err := checkRange(opRead, offset, int64(len(p))); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		var nothing byte // so that C gets a pointer
		_, err := check(opRead, C.q2_image_pread(d.image.handle.get(), unsafe.Pointer(&nothing), 0, C.uint64_t(offset)))
		return 0, err
	}
	count, err := check(opRead,
		C.q2_image_pread(d.image.handle.get(), unsafe.Pointer(&p[0]), C.size_t(len(p)), C.uint64_t(offset)))
	return int(count), err
}

// WriteAt writes all of p; flags: FUA.
func (d Direct) WriteAt(p []byte, offset int64, flags WriteFlags) (int, error) {
	if err := checkRange(opWrite, offset, int64(len(p))); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		var nothing byte // so that C gets a pointer
		_, err := check(opWrite, C.q2_image_pwrite(d.image.handle.get(), unsafe.Pointer(&nothing), 0, C.uint64_t(offset),
			C.uint32_t(flags)))
		return 0, err
	}
	count, err := check(opWrite, C.q2_image_pwrite(d.image.handle.get(), unsafe.Pointer(&p[0]), C.size_t(len(p)),
		C.uint64_t(offset), C.uint32_t(flags)))
	return int(count), err
}

// ReadVAt reads into several buffers, up to 1024, one after the other. It copies: an array of pointers to Go's memory must
// not be passed to C.
func (d Direct) ReadVAt(buffers [][]byte, offset int64) (int, error) {
	total := totalOf(buffers)
	if err := checkRange(opRead, offset, total); err != nil {
		return 0, err
	}
	memory, err := getBuffer(opRead, int(total))
	if err != nil {
		return 0, err
	}
	defer memory.release()
	lengths := lengthsOf(buffers)
	count, err := check(opRead, C.q2_image_preadv(d.image.handle.get(), memory.base, first(lengths),
		C.int(len(lengths)), C.uint64_t(offset)))
	if err == nil {
		scatter(buffers, memory.bytes(int(total)))
	}
	return int(count), err
}

// WriteVAt writes from several buffers, up to 1024, one after the other; flags: FUA. It copies, as ReadVAt does.
func (d Direct) WriteVAt(buffers [][]byte, offset int64, flags WriteFlags) (int, error) {
	total := totalOf(buffers)
	if err := checkRange(opWrite, offset, total); err != nil {
		return 0, err
	}
	memory, err := getBuffer(opWrite, int(total))
	if err != nil {
		return 0, err
	}
	defer memory.release()
	gather(memory.bytes(int(total)), buffers)
	lengths := lengthsOf(buffers)
	count, err := check(opWrite, C.q2_image_pwritev(d.image.handle.get(), memory.base, first(lengths),
		C.int(len(lengths)), C.uint64_t(offset), C.uint32_t(flags)))
	return int(count), err
}

// first is the address of an array for C; nil if it is empty.
func first(lengths []C.size_t) *C.size_t {
	if len(lengths) == 0 {
		return nil
	}
	return &lengths[0]
}

// Flush makes everything survive a loss of power whose write had returned before.
func (d Direct) Flush() error {
	return checked(opFlush, C.q2_image_flush(d.image.handle.get()))
}

// Discard frees the clusters inside a range; flags: FUA.
func (d Direct) Discard(offset, length int64, flags WriteFlags) error {
	if err := checkRange(opDiscard, offset, length); err != nil {
		return err
	}
	return checked(opDiscard, C.q2_image_discard(d.image.handle.get(), C.uint64_t(offset), C.uint64_t(length),
		C.uint32_t(flags)))
}

// WriteZeroes makes a range read as zeroes; flags: FUA, NoHole, FastZero.
func (d Direct) WriteZeroes(offset, length int64, flags WriteFlags) error {
	if err := checkRange(opWriteZeroes, offset, length); err != nil {
		return err
	}
	return checked(opWriteZeroes, C.q2_image_write_zeroes(d.image.handle.get(), C.uint64_t(offset),
		C.uint64_t(length), C.uint32_t(flags)))
}

// BlockStatus tells what a range holds, extent by extent, until visit returns false. visit runs inside the call of the
// library and must not use the image, except by Async.
func (d Direct) BlockStatus(offset, length int64, visit func(Extent) bool) error {
	if err := checkRange(opBlockStatus, offset, length); err != nil {
		return err
	}
	var err error
	w := walk[Extent]{visit: visit}
	w.run(func(number uintptr) {
		err = checked(opBlockStatus, C.q2_image_block_status(d.image.handle.get(), C.uint64_t(offset),
			C.uint64_t(length), C.uintptr_t(number)))
	})
	return err
}
