package qcow2blk

/*
#include "shim.h"
*/
import "C"

// OpenFlags say how an image is opened.
type OpenFlags uint32

// ReadOnly opens for reading only. Several processes may have an image open so, but none that writes.
const ReadOnly OpenFlags = C.QCOW2BLK_OPEN_READ_ONLY

// WriteFlags say how something is written, discarded or zeroed.
type WriteFlags uint32

const (
	// FUA (force unit access): the change survives a loss of power when the call returns.
	FUA WriteFlags = C.QCOW2BLK_FUA
	// NoHole, of a write of zeroes: keep the space allocated, instead of making a hole.
	NoHole WriteFlags = C.QCOW2BLK_NO_HOLE
	// FastZero, of a write of zeroes: fail with EOPNOTSUPP where it would be no faster than writing zeroes.
	FastZero WriteFlags = C.QCOW2BLK_FAST_ZERO
)

// ResumeFlags say how a device is resumed.
type ResumeFlags uint32

// AllowShrink, of a resume: the disk may have become smaller.
const AllowShrink ResumeFlags = C.QCOW2BLK_ALLOW_SHRINK

// ResizeFlags say how a disk is resized. AllowShrink: it may become smaller.
type ResizeFlags = ResumeFlags

// ForceShrink, of a device that becomes smaller: also if it has users, who lose its end.
const ForceShrink ResizeFlags = C.QCOW2BLK_FORCE_SHRINK

// DetachFlags say how a device is detached.
type DetachFlags uint32

// Force, of a detach: take the device from its users, and lose what cannot be written.
const Force DetachFlags = C.QCOW2BLK_FORCE
