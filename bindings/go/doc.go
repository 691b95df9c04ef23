// Package qcow2blk opens QCOW2 disk images in this process, with the engine of the qcow2blk command.
//
// It binds libqcow2blk over cgo. An [Image] is an io.ReaderAt, an io.WriterAt and an io.Closer:
//
//	image, err := qcow2blk.Open("disk.qcow2", nil, qcow2blk.ReadOnly)
//	if err != nil {
//		return err
//	}
//	defer image.Close()
//	_, err = image.ReadAt(sector, 0)
//
// # Goroutines and threads
//
// Everything may be called from any goroutine at any time, except where a [LoopImage] is concerned. The I/O of an Image
// occupies no OS thread while it waits: thousands of goroutines may wait at a time. Data is copied once, between the
// caller's slice and memory of C, because Go's memory must not be used by C after a call has returned. [Image.Direct] and
// [Image.Async] are two other ways to the same image. Open, Close and what a [Device] is told to do occupy an OS thread
// until they are done.
//
// # Contexts
//
// A method whose name ends in Context returns ctx.Err() at once when the context ends. What the library has begun goes on:
// a write that was cancelled may happen or not, also after later writes. Close waits for it, and InFlight counts it.
//
// # Errors
//
// An error of the library is an [*Error]. It unwraps to a syscall.Errno, so errors.Is(err, os.ErrNotExist) and
// errors.Is(err, syscall.EBUSY) work. What is closed gives EINVAL.
package qcow2blk
