package qcow2blk

/*
#include "shim.h"
*/
import "C"

import (
	"encoding/json"
	"time"
)

// Status is what is known of a device. StatusJSON has all of it, also what a newer library has added.
type Status struct {
	Name     string      `json:"name"`
	State    string      `json:"state"`
	Image    string      `json:"image"`
	URI      string      `json:"uri"`    // empty for a block device
	Device   string      `json:"device"` // the node; empty for an NBD server
	PID      int         `json:"pid"`
	Started  time.Time   `json:"-"`
	Error    string      `json:"error"` // why the image can no longer be written; empty if it can
	Geometry Geometry    `json:"geometry"`
	Chain    []ChainFile `json:"chain"`
	Cache    *Cache      `json:"cache"` // nil while suspended, or if there is none
	Requests Requests    `json:"requests"`
}

// Requests are those that a device has had.
type Requests struct {
	Connections     int   `json:"connections"`
	InFlight        int   `json:"in-flight"`
	WaitingForSpace int   `json:"waiting-for-space"`
	Reads           int64 `json:"reads"`
	Writes          int64 `json:"writes"`
	Others          int64 `json:"others"`
	ReadBytes       int64 `json:"read-bytes"`
	WrittenBytes    int64 `json:"written-bytes"`
	Errors          int64 `json:"errors"`
}

// StatusJSON is what "qcow2blk status --json" says of the device.
func (d *Device) StatusJSON() (string, error) {
	return text("status", func(memory *C.char, size C.size_t) C.q2_result {
		return C.q2_device_status(d.handle.get(), memory, size)
	})
}

// Status is the common part of StatusJSON.
func (d *Device) Status() (Status, error) {
	document, err := d.StatusJSON()
	if err != nil {
		return Status{}, err
	}
	// The time apart: time.Time does not read the escapes that JSON allows.
	var read struct {
		Status
		Started string `json:"started"`
	}
	if err := json.Unmarshal([]byte(document), &read); err != nil {
		return Status{}, err
	}
	read.Status.Started, err = time.Parse(time.RFC3339Nano, read.Started)
	return read.Status, err
}
