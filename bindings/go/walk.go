package qcow2blk

import "runtime/cgo"

// walk is a call that visits things by a function of Go, on its way through C.
type walk[T any] struct {
	visit    func(T) bool
	panicked any
}

// run makes the call. A panic of visit ends the walk and comes out here: it must not pass through frames of the library.
func (w *walk[T]) run(call func(number uintptr)) {
	number := cgo.NewHandle(w)
	defer number.Delete()
	call(uintptr(number))
	if w.panicked != nil {
		panic(w.panicked)
	}
}

// step returns what ends the walk (1) or lets it go on (0).
func (w *walk[T]) step(item T) (result int) {
	defer func() {
		if w.panicked = recover(); w.panicked != nil {
			result = 1
		}
	}()
	if w.visit(item) {
		return 0
	}
	return 1
}
