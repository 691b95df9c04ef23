package qcow2blk

/*
#include "shim.h"
*/
import "C"

// LoopImage is an image without a thread: it does its work inside Process and inside the calls of Direct. It is for
// programs that have an event loop of their own.
//
// It belongs to the OS thread that opened it: call runtime.LockOSThread before OpenLoop, and use the image on that
// goroutine only. Calls from elsewhere fail with EPERM.
type LoopImage struct {
	openImage
}

// OpenLoop is Open for an image that gets no thread.
func OpenLoop(path string, options *Options, flags OpenFlags) (*LoopImage, error) {
	image := &LoopImage{}
	if err := image.open(path, options, C.uint32_t(flags)|C.QCOW2BLK_OPEN_CALLER_LOOP); err != nil {
		return nil, err
	}
	return image, nil
}

// FD is a descriptor that poll or epoll find readable when it is time to call Process. Only look at it: do not read it,
// write it or close it.
func (l *LoopImage) FD() (int, error) { return l.fd() }

// Process does what there is to do, without waiting: it begins new requests, takes what is finished, and runs callbacks.
// Call it after you have submitted requests, and when the descriptor is readable. It returns how many requests ended.
func (l *LoopImage) Process() (int, error) { return l.process() }

// Close is that of Image.
func (l *LoopImage) Close() error {
	_, err := l.close()
	return err
}

func (i *openImage) fd() (int, error) {
	fd, err := check("descriptor", C.q2_image_fd(i.handle.get()))
	return int(fd), err
}

func (i *openImage) process() (int, error) {
	count, err := check("process", C.q2_image_process(i.handle.get()))
	return int(count), err
}
