package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// engine is the queue where the requests of all images end, and the goroutine that tells their callers. It lives from the
// first Open to the last Close.
type engine struct {
	queue       handle
	file        *os.File // the queue's descriptor, as Go's poller watches it
	completions *C.struct_qcow2blk_completion
	ended       chan struct{} // closed when the goroutine has ended
	places      budget        // in the queue

	mu       sync.Mutex
	requests map[uintptr]*request
	token    uintptr
	images   int
	ending   bool
}

// mostCompletions is how many are fetched by one call.
const mostCompletions = 256

// current is the engine that new images join, if there is one.
var current struct {
	mu     sync.Mutex
	engine *engine
}

// joinEngine counts one image more. Each needs one leave.
func joinEngine() (*engine, error) {
	current.mu.Lock()
	defer current.mu.Unlock()
	if current.engine == nil {
		started, err := startEngine()
		if err != nil {
			return nil, err
		}
		current.engine = started
	}
	e := current.engine
	e.mu.Lock()
	e.images++
	e.mu.Unlock()
	return e, nil
}

// leave returns when nothing of the engine is left, if this was its last image.
func (e *engine) leave() {
	current.mu.Lock()
	e.mu.Lock()
	e.images--
	isLast := e.images == 0
	if isLast {
		current.engine = nil
	}
	e.endIfIdle()
	e.mu.Unlock()
	current.mu.Unlock()
	if isLast {
		<-e.ended
	}
}

func startEngine() (*engine, error) {
	const op = "queue"
	e := &engine{
		ended:    make(chan struct{}),
		places:   budget{free: queueDepth},
		requests: make(map[uintptr]*request),
	}
	var number C.uintptr_t
	if err := checked(op, C.q2_queue_create(&number, queueDepth)); err != nil {
		return nil, err
	}
	e.queue.set(number)
	file, err := watched(op, number)
	if err != nil {
		_ = closeQueue(uintptr(number))
		return nil, err
	}
	conn, err := file.SyscallConn()
	if err == nil {
		// Fails if Go's poller does not watch it.
		err = file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		_ = file.Close()
		_ = closeQueue(uintptr(number))
		return nil, err
	}
	e.file = file
	e.completions = (*C.struct_qcow2blk_completion)(
		C.calloc(mostCompletions, C.sizeof_struct_qcow2blk_completion))
	go e.dispatch(conn)
	return e, nil
}

// watched makes a file of the queue's descriptor. It is a duplicate: the library's own stays the library's.
func watched(op string, queue C.uintptr_t) (*os.File, error) {
	fd, err := check(op, C.q2_queue_fd(queue))
	if err != nil {
		return nil, err
	}
	// Without a moment in which a child could inherit it.
	duplicate, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return nil, &Error{Op: op, Errno: errno}
	}
	if err := syscall.SetNonblock(int(duplicate), true); err != nil {
		_ = syscall.Close(int(duplicate))
		return nil, err
	}
	return os.NewFile(duplicate, "qcow2blk queue"), nil
}

// register gives a request a token to be known by. Once it has one, the engine does not end before the request does.
func (e *engine) register(r *request) (token uintptr, ok bool) {
	if e == nil {
		return 0, false // of an Image that was never opened
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ending {
		return 0, false
	}
	e.token++
	e.requests[e.token] = r
	return e.token, true
}

// forget takes a request out: it has ended, or was never accepted.
func (e *engine) forget(token uintptr) *request {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := e.requests[token]
	delete(e.requests, token)
	e.endIfIdle()
	return found
}

// closeQueue ends a queue of the library.
func closeQueue(number uintptr) error {
	return checked("close queue", C.q2_queue_close(C.uintptr_t(number)))
}

// endIfIdle wakes the goroutine for the last time when nothing can come any more. The lock is held.
func (e *engine) endIfIdle() {
	if e.images == 0 && len(e.requests) == 0 && !e.ending {
		e.ending = true
		_ = e.file.SetReadDeadline(time.Unix(1, 0))
	}
}

func (e *engine) isEnding() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ending
}

// dispatch waits in Go's poller for the queue and tells the callers of what has ended.
func (e *engine) dispatch(conn syscall.RawConn) {
	defer close(e.ended)
	for !e.isEnding() {
		// The poller tells of a change only: what is there is fetched until nothing is left.
		_ = conn.Read(func(uintptr) bool {
			for e.fetch() {
			}
			return e.isEnding()
		})
	}
	_ = e.file.Close()
	_ = closeQueue(e.queue.number.Swap(0))
	C.free(unsafe.Pointer(e.completions))
}

// fetch returns whether there may be more.
func (e *engine) fetch() bool {
	count, err := check("queue", C.q2_queue_wait(e.queue.get(), e.completions, mostCompletions, 0))
	if err != nil {
		return err.(*Error).Errno == syscall.EINTR
	}
	completions := unsafe.Slice(e.completions, int(count))
	for i := range completions {
		// user_data is a token: it must never look like a pointer to the garbage collector.
		token := *(*uintptr)(unsafe.Pointer(&completions[i].user_data))
		if r := e.forget(token); r != nil {
			r.complete(int64(completions[i].result))
		}
	}
	return count > 0
}
