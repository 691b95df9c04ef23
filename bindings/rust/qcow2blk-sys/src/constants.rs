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

/// Of a resume: the disk may have become smaller.
pub const QCOW2BLK_ALLOW_SHRINK: u32 = 1;
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
