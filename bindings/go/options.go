package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Options are how images and devices are opened. One set can be used for any number of them, and closed as soon as they
// are open. A nil *Options stands for the defaults.
type Options struct {
	handle handle
	mu     sync.RWMutex // the library wants changes one at a time
}

// NewOptions begins a set of options.
func NewOptions() (*Options, error) {
	var number C.uintptr_t
	if err := checked("options", C.q2_options_create(&number)); err != nil {
		return nil, err
	}
	options := &Options{}
	options.handle.set(number)
	return options, nil
}

// Set sets an option by name and text. Names and values are those of "qcow2blk attach" without the dashes, such as
// "cache-size" and "64M"; flags take "true" and "false". Those after "-o" of "qcow2blk create" are for Create alone. An option that can be given several times gets one value more
// with each call. A Set that fails changes nothing.
func (o *Options) Set(name, value string) error {
	const op = "set option"
	cName, err := cString(op, "the name", name)
	if err != nil {
		return err
	}
	defer freeString(cName)
	cValue, err := cString(op, "the value of "+name, value)
	if err != nil {
		return err
	}
	defer freeString(cValue)
	o.mu.Lock()
	defer o.mu.Unlock()
	return checked(op, C.q2_options_set(o.handle.get(), cName, cValue))
}

// SetKey gives the key of an encrypted image, in the place of the one before: the passphrase of LUKS, without a line end. The
// library keeps it in locked memory and wipes it when the options, and what was opened with them, are closed. The caller wipes
// its own.
func (o *Options) SetKey(key []byte) error {
	const op = "set key"
	if len(key) == 0 {
		return invalid(op, "the key is empty")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return checked(op, C.q2_options_set_key(o.handle.get(), unsafe.Pointer(&key[0]), C.size_t(len(key))))
}

// AddFile gives an open file of the backing chain: the image itself first, then its backing file, and so on down to the
// base. If any are given, all must be, and no file is opened by name. The file is duplicated and stays yours; whether the
// page cache is bypassed is decided by its O_DIRECT. It is for images only: a Device opens its files again after a suspend, by
// their names.
func (o *Options) AddFile(file *os.File) error {
	const op = "add file"
	// Not file.Fd(), which would make the file a blocking one.
	raw, err := file.SyscallConn()
	if err != nil {
		return &Error{Op: op, Errno: syscall.EBADF, Message: "the file is not open"}
	}
	var added error
	err = raw.Control(func(fd uintptr) {
		o.mu.Lock()
		defer o.mu.Unlock()
		added = checked(op, C.q2_options_add_fd(o.handle.get(), C.int(fd)))
	})
	if err != nil {
		return &Error{Op: op, Errno: syscall.EBADF, Message: "the file is not open: " + file.Name()}
	}
	return added
}

// Close ends the set of options.
func (o *Options) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return checked("close options", C.q2_options_close(o.handle.take()))
}

// borrow keeps the options as they are until done is called.
func (o *Options) borrow(op string) (number C.uintptr_t, done func(), err error) {
	if o == nil {
		return 0, func() {}, nil
	}
	o.mu.RLock()
	number = o.handle.get()
	if number == 0 {
		o.mu.RUnlock()
		// To the library no options are the defaults.
		return 0, nil, invalid(op, "the options are closed")
	}
	return number, o.mu.RUnlock, nil
}
