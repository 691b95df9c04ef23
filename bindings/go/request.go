package qcow2blk

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
)

// What became of a request: exactly one of its caller and its completion changes it from waiting.
const (
	requestWaiting int32 = iota
	requestEnded
	requestAbandoned
)

// request is one request on its way through a queue. It is used again: nobody may touch it after its release.
type request struct {
	memory *buffer // nil if it moves no data
	cost   int
	image  *budget // gets the cost back
	queue  *budget // gets one place back
	state  atomic.Int32
	ended  chan int64
}

var requests = sync.Pool{New: func() any { return &request{ended: make(chan int64, 1)} }}

// newRequest waits until there is room for a request with a buffer of that length.
func (i *Image) newRequest(ctx context.Context, op string, length int) (*request, error) {
	if i.engine == nil {
		return nil, invalid(op, "the image is not open")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := requests.Get().(*request)
	r.image, r.queue, r.cost = &i.inFlight, &i.engine.places, smallestBuffer
	if length > 0 {
		r.cost = costOf(length)
	}
	if err := r.image.acquire(ctx, r.cost); err != nil {
		requests.Put(r)
		return nil, err
	}
	if err := r.queue.acquire(ctx, 1); err != nil {
		r.image.release(r.cost)
		requests.Put(r)
		return nil, err
	}
	if length > 0 {
		memory, err := getBuffer(op, length)
		if err != nil {
			r.release()
			return nil, err
		}
		r.memory = memory
	}
	r.state.Store(requestWaiting)
	return r, nil
}

// complete tells the caller, or if it has given up cleans up in its place.
func (r *request) complete(result int64) {
	if r.state.CompareAndSwap(requestWaiting, requestEnded) {
		r.ended <- result
		return
	}
	r.release()
}

// wait returns ctx.Err() if the context ends first: the memory then belongs to the completion.
func (r *request) wait(ctx context.Context) (result int64, err error) {
	select {
	case result = <-r.ended:
		return result, nil
	case <-ctx.Done():
		if r.state.CompareAndSwap(requestWaiting, requestAbandoned) {
			return 0, ctx.Err()
		}
		return <-r.ended, nil
	}
}

func (r *request) release() {
	memory, cost, image, queue := r.memory, r.cost, r.image, r.queue
	r.memory, r.image, r.queue = nil, nil, nil
	requests.Put(r)
	memory.release()
	queue.release(1)
	image.release(cost)
}

// failure is the error of a completion, which has a number but no text.
func failure(op string, result int64, offset, length int64) error {
	errno := syscall.Errno(-result)
	message := fmt.Sprintf("cannot %s %d bytes at %d: %s", op, length, offset, errno.Error())
	if op == opFlush {
		message = "cannot flush: " + errno.Error()
	}
	return &Error{Op: op, Errno: errno, Message: message}
}
