package qcow2blk

import (
	"errors"
	"fmt"
	"syscall"
)

// Error is what an operation of the library failed with. It unwraps to its Errno.
type Error struct {
	Op      string        // what was tried, such as "open" or "read"
	Errno   syscall.Errno // why
	Message string        // what the library says of it, one line; may be empty
}

// Error is the message, or if there is none the operation and the text of the errno.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("qcow2blk: %s: %s", e.Op, e.Errno.Error())
	}
	return "qcow2blk: " + e.Message
}

// Unwrap makes errors.Is work with syscall.ENOENT, os.ErrNotExist and their like.
func (e *Error) Unwrap() error { return e.Errno }

// invalid is the error of what can be refused without asking the library.
func invalid(op, message string) error {
	return &Error{Op: op, Errno: syscall.EINVAL, Message: message}
}

// isRefused says whether a Close failed because of who called it, and left everything as it was.
func isRefused(err error) bool {
	return errors.Is(err, syscall.EDEADLK) || errors.Is(err, syscall.EPERM)
}
