//! The constants.

use std::ffi::c_int;

/// Major version of the header that this crate mirrors.
pub const QCOW2BLK_VERSION_MAJOR: u32 = 0;
/// Minor version of the header that this crate mirrors.
pub const QCOW2BLK_VERSION_MINOR: u32 = 1;
/// Patch level of the header that this crate mirrors.
pub const QCOW2BLK_VERSION_PATCH: u32 = 0;
/// Version of the header that this crate mirrors, one byte for each part.
pub const QCOW2BLK_VERSION: u32 = QCOW2BLK_VERSION_MAJOR << 16 | QCOW2BLK_VERSION_MINOR << 8 | QCOW2BLK_VERSION_PATCH;

/// Log: something failed.
pub const QCOW2BLK_LOG_ERROR: c_int = 0;
/// Log: something is wrong, and it goes on.
pub const QCOW2BLK_LOG_WARNING: c_int = 1;
/// Log: what happens.
pub const QCOW2BLK_LOG_INFO: c_int = 2;
/// Log: what happens, in detail.
pub const QCOW2BLK_LOG_DEBUG: c_int = 3;

/// Open for reading only.
pub const QCOW2BLK_OPEN_READ_ONLY: u32 = 1;
/// The image gets no thread: its caller drives it.
pub const QCOW2BLK_OPEN_CALLER_LOOP: u32 = 2;

/// The change survives a loss of power when the call returns.
pub const QCOW2BLK_FUA: u32 = 1;
/// Of a write of zeroes: keep the space allocated.
pub const QCOW2BLK_NO_HOLE: u32 = 2;
/// Of a write of zeroes: fail where it would be slow.
pub const QCOW2BLK_FAST_ZERO: u32 = 4;

/// Of an extent: no space is allocated for it.
pub const QCOW2BLK_EXTENT_HOLE: u32 = 1;
/// Of an extent: it reads as zeroes.
pub const QCOW2BLK_EXTENT_ZERO: u32 = 2;
/// Of an extent: a bitmap has it dirty.
pub const QCOW2BLK_EXTENT_DIRTY: u32 = 4;

/// Of a new image: replace a file that is there already.
pub const QCOW2BLK_CREATE_REPLACE: u32 = 1;

/// Check: what is being done, and the part of it that is.
pub const QCOW2BLK_CHECK_PROGRESS: c_int = 0;
/// Check: a finding, space is lost.
pub const QCOW2BLK_CHECK_LEAK: c_int = 1;
/// Check: a finding, an error.
pub const QCOW2BLK_CHECK_ERROR: c_int = 2;
/// Check: why it ended early.
pub const QCOW2BLK_CHECK_STOPPED: c_int = 3;
/// Of a check: repair leaks, and nothing else.
pub const QCOW2BLK_CHECK_REPAIR_LEAKS: u32 = 1;
/// Of a check: repair all that can be repaired.
pub const QCOW2BLK_CHECK_REPAIR_ALL: u32 = 2;
/// Of a check: look at an image that somebody is writing.
pub const QCOW2BLK_CHECK_IGNORE_LOCKS: u32 = 4;
/// Result of a check: nothing is wrong.
pub const QCOW2BLK_CHECK_CLEAN: c_int = 0;
/// Result of a check: something could not be looked at, or be repaired.
pub const QCOW2BLK_CHECK_INCOMPLETE: c_int = 1;
/// Result of a check: there are errors.
pub const QCOW2BLK_CHECK_CORRUPT: c_int = 2;
/// Result of a check: there are leaks and no errors.
pub const QCOW2BLK_CHECK_LEAKING: c_int = 3;

/// Room for the ID of a snapshot, with its NUL.
pub const QCOW2BLK_SNAPSHOT_ID_SIZE: u32 = 24;

/// Of a bitmap that is added: do not record until it is enabled.
pub const QCOW2BLK_BITMAP_DISABLED: u32 = 1;
/// Of a bitmap: every change sets its bits.
pub const QCOW2BLK_BITMAP_RECORDS: u32 = 2;
/// Of a bitmap: it is of no use.
pub const QCOW2BLK_BITMAP_INCONSISTENT: u32 = 4;
/// Of a bitmap: NBD clients look at it.
pub const QCOW2BLK_BITMAP_EXPORTED: u32 = 8;

/// State: requests are served.
pub const QCOW2BLK_STATE_RUNNING: c_int = 0;
/// State: held, waiting for requests in progress.
pub const QCOW2BLK_STATE_SUSPENDING: c_int = 1;
/// State: the image file is closed and can be edited.
pub const QCOW2BLK_STATE_SUSPENDED: c_int = 2;
/// State: it is being detached.
pub const QCOW2BLK_STATE_DETACHING: c_int = 3;
/// State: takes no more writes; the status tells why.
pub const QCOW2BLK_STATE_FAILED: c_int = 4;
/// State: detached, or its server died.
pub const QCOW2BLK_STATE_ENDED: c_int = 5;

/// Of a resize, and of a resume: the disk may become smaller.
pub const QCOW2BLK_ALLOW_SHRINK: u32 = 1;
/// Of a device that is made smaller: also if it has users.
pub const QCOW2BLK_FORCE_SHRINK: u32 = 2;
/// Of a detach: take the device from its users, and lose what cannot be written.
pub const QCOW2BLK_FORCE: u32 = 1;

/// Event: the state has changed.
pub const QCOW2BLK_EVENT_STATE: u32 = 1;
/// Event: requests wait for space.
pub const QCOW2BLK_EVENT_NO_SPACE: u32 = 2;
/// Event: something failed that no request could be told of.
pub const QCOW2BLK_EVENT_ERROR: u32 = 3;
/// Event: the image takes no more writes.
pub const QCOW2BLK_EVENT_CORRUPT: u32 = 4;
/// Event: another process serves the device now.
pub const QCOW2BLK_EVENT_SERVER: u32 = 5;
