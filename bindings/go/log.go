package qcow2blk

/*
#include "shim.h"
*/
import "C"

import "sync"

// LogLevel says how much a line of the log matters.
type LogLevel int

// The levels; each includes those before it.
const (
	LogError   LogLevel = C.QCOW2BLK_LOG_ERROR
	LogWarning LogLevel = C.QCOW2BLK_LOG_WARNING
	LogInfo    LogLevel = C.QCOW2BLK_LOG_INFO
	LogDebug   LogLevel = C.QCOW2BLK_LOG_DEBUG
)

// String is "error", "warning", "info" or "debug".
func (l LogLevel) String() string {
	return wordOf(int(l), "error", "warning", "info", "debug")
}

// LogFunc hears a line of the log, without a line end. It runs on any thread, one line at a time, and must not call this
// package.
type LogFunc func(level LogLevel, message string)

var logging struct {
	mu       sync.Mutex
	listener LogFunc
}

func logListener() LogFunc {
	logging.mu.Lock()
	defer logging.mu.Unlock()
	return logging.listener
}

func swapLogListener(listener LogFunc) (before LogFunc) {
	logging.mu.Lock()
	defer logging.mu.Unlock()
	before, logging.listener = logging.listener, listener
	return before
}

// SetLog has a function hear what no result tells, up to a level, of everything in this process. Without one nothing is
// said. nil ends it: when SetLog returns, the former function is not running and will not be called again.
func SetLog(level LogLevel, listener LogFunc) error {
	on := C.int(0)
	if listener != nil {
		on = 1
	}
	// There before the library knows: the first line must not be lost. No lock is held while the library is called: the
	// call may wait for a listener.
	before := swapLogListener(listener)
	if err := checked("log", C.q2_set_log(on, C.int(level))); err != nil {
		swapLogListener(before)
		return err
	}
	return nil
}

//export goLog
func goLog(level C.int, message *C.char) {
	if listener := logListener(); listener != nil {
		listener(LogLevel(level), C.GoString(message))
	}
}
