//! The functions that the library calls. None of them may unwind.

use std::ffi::{c_char, c_int, c_void};

use crate::types::*;

/// A line of the log, without a line end.
pub type qcow2blk_log_fn = unsafe extern "C" fn(user_data: *mut c_void, level: c_int, message: *const c_char);

/// What a check tells: progress, or a finding.
pub type qcow2blk_check_fn =
    unsafe extern "C" fn(user_data: *mut c_void, kind: c_int, message: *const c_char, done: f64);

/// An internal snapshot. A result other than 0 ends the list.
pub type qcow2blk_snapshot_fn =
    unsafe extern "C" fn(user_data: *mut c_void, snapshot: *const qcow2blk_snapshot) -> c_int;

/// A range of the disk that is alike. A result other than 0 ends the walk.
pub type qcow2blk_extent_fn = unsafe extern "C" fn(user_data: *mut c_void, extent: *const qcow2blk_extent) -> c_int;

/// A persistent bitmap. A result other than 0 ends the list.
pub type qcow2blk_bitmap_fn = unsafe extern "C" fn(user_data: *mut c_void, bitmap: *const qcow2blk_bitmap) -> c_int;

/// A checkpoint. A result other than 0 ends the list.
pub type qcow2blk_checkpoint_fn =
    unsafe extern "C" fn(user_data: *mut c_void, checkpoint: *const qcow2blk_checkpoint) -> c_int;

/// The result of an asynchronous request.
pub type qcow2blk_completion_fn = unsafe extern "C" fn(user_data: *mut c_void, result: i64);

/// What happened to a device.
pub type qcow2blk_event_fn = unsafe extern "C" fn(user_data: *mut c_void, event: *const qcow2blk_device_event);
