//! The structures and the opaque handles.

use std::ffi::{c_char, c_void};
use std::marker::{PhantomData, PhantomPinned};

use crate::callbacks::*;

/// Nothing outside the library makes, copies or moves what a handle points to.
type Opaque = PhantomData<(*mut u8, PhantomPinned)>;

/// An open image.
#[repr(C)]
#[derive(Debug)]
pub struct qcow2blk_image {
    nothing: [u8; 0],
    opaque: Opaque,
}

/// An attached image: a block device or an NBD server.
#[repr(C)]
#[derive(Debug)]
pub struct qcow2blk_device {
    nothing: [u8; 0],
    opaque: Opaque,
}

/// Where completions of asynchronous requests wait to be fetched.
#[repr(C)]
#[derive(Debug)]
pub struct qcow2blk_queue {
    nothing: [u8; 0],
    opaque: Opaque,
}

/// How an image is opened or attached.
#[repr(C)]
#[derive(Debug)]
pub struct qcow2blk_options {
    nothing: [u8; 0],
    opaque: Opaque,
}

/// `struct iovec` of `<sys/uio.h>`. `std::io::IoSlice` and `IoSliceMut` are laid out like it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct iovec {
    /// Where the buffer starts.
    pub iov_base: *mut c_void,
    /// How long it is.
    pub iov_len: usize,
}

/// An internal snapshot. Its strings are valid during the callback.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct qcow2blk_snapshot {
    /// Of what the library has filled in.
    pub size: u32,
    /// To be added to `date_seconds`.
    pub date_nanoseconds: u32,
    /// As `qemu-img snapshot -l` shows it; unique.
    pub id: *const c_char,
    /// May be that of another snapshot too.
    pub name: *const c_char,
    /// Since 1970, when it was made.
    pub date_seconds: i64,
    /// Nanoseconds that the guest had run.
    pub vm_clock: u64,
    /// Bytes of saved memory; 0 for a snapshot of the disk alone.
    pub vm_state_size: u64,
    /// Bytes of the disk at that time.
    pub disk_size: u64,
}

/// What a check found, in clusters unless it says otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct qcow2blk_check_result {
    /// `size_of::<qcow2blk_check_result>()`.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Could not be looked at.
    pub check_errors: i64,
    /// Errors that are left.
    pub corruptions: i64,
    /// Lost space that is left.
    pub leaks: i64,
    /// Errors that were repaired.
    pub corruptions_fixed: i64,
    /// Lost space that was given back.
    pub leaks_fixed: i64,
    /// Bytes: where the last cluster in use ends in the file.
    pub image_end_offset: i64,
    /// Of the disk.
    pub total_clusters: i64,
    /// Of these, in use.
    pub allocated_clusters: i64,
    /// Of these, not behind the one before.
    pub fragmented_clusters: i64,
    /// Of the allocated ones, compressed.
    pub compressed_clusters: i64,
}

/// A persistent dirty bitmap. Its name is valid during the callback.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct qcow2blk_bitmap {
    /// Of what the library has filled in.
    pub size: u32,
    /// `QCOW2BLK_BITMAP_*`.
    pub flags: u32,
    /// Unique.
    pub name: *const c_char,
    /// Bytes of the disk that a bit stands for.
    pub granularity: u64,
    /// Bytes of the disk that its bits stand for; -1 if nobody can tell.
    pub dirty_bytes: i64,
}

/// A checkpoint: an internal snapshot and a bitmap of the same name. Its strings are valid during the callback.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct qcow2blk_checkpoint {
    /// Of what the library has filled in.
    pub size: u32,
    /// `QCOW2BLK_BITMAP_*` of its bitmap.
    pub flags: u32,
    /// Of snapshot and bitmap.
    pub name: *const c_char,
    /// As `qemu-img snapshot -l` shows it.
    pub snapshot_id: *const c_char,
    /// Since 1970, when it was made.
    pub date_seconds: i64,
    /// To be added to `date_seconds`.
    pub date_nanoseconds: u32,
    /// 0.
    pub reserved: u32,
    /// Bytes of the disk that a bit stands for.
    pub granularity: u64,
    /// Bytes of the disk that changed up to the next one; -1 if nobody can tell.
    pub dirty_bytes: i64,
}

/// A range of the disk that is alike.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct qcow2blk_extent {
    /// Where it starts.
    pub offset: u64,
    /// How long it is; never 0.
    pub length: u64,
    /// `QCOW2BLK_EXTENT_*`.
    pub flags: u32,
    /// 0: no image of the chain has anything there; 1: the image itself; 2: its backing file; and so on.
    pub depth: u32,
}

/// How to tell of the end of a request: through a queue, or by a callback if `queue` is null.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct qcow2blk_notify {
    /// `size_of::<qcow2blk_notify>()`.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// The queue, or null.
    pub queue: *mut qcow2blk_queue,
    /// The callback, or `None`.
    pub callback: Option<qcow2blk_completion_fn>,
    /// Given back with the result.
    pub user_data: *mut c_void,
}

/// The end of a request, as a queue tells it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct qcow2blk_completion {
    /// What the request was given.
    pub user_data: *mut c_void,
    /// What the synchronous function of that name returns.
    pub result: i64,
}

/// What happened to a device. The message is valid during the callback, and may be empty.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct qcow2blk_device_event {
    /// Of what the library has filled in.
    pub size: u32,
    /// `QCOW2BLK_EVENT_*`.
    pub kind: u32,
    /// `QCOW2BLK_STATE_*` at that time.
    pub state: i32,
    /// See the kinds.
    pub value: i32,
    /// One line of text.
    pub message: *const c_char,
}
