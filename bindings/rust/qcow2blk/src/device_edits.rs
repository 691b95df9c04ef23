//! Snapshots and bitmaps of an attached image.

use std::time::Duration;

use qcow2blk_sys::*;

use crate::bitmap::{self, Bitmap};
use crate::device::Device;
use crate::error::{check, Result};
use crate::queue::milliseconds;
use crate::snapshot::Snapshot;
use crate::text;

/// What can be done with snapshots and bitmaps while its users wait.
impl Device {
    /// Makes the disk larger, or leaves it as it is.
    pub fn resize(&self, size: u64, timeout: Option<Duration>) -> Result<()> {
        self.resize_with(size, timeout, 0)
    }

    /// As [`resize`](Self::resize), also to a smaller size unless it has users.
    pub fn resize_or_shrink(&self, size: u64, timeout: Option<Duration>) -> Result<()> {
        self.resize_with(size, timeout, QCOW2BLK_ALLOW_SHRINK)
    }

    /// As [`resize_or_shrink`](Self::resize_or_shrink), also if it has users, who lose its end.
    pub fn resize_or_shrink_by_force(&self, size: u64, timeout: Option<Duration>) -> Result<()> {
        self.resize_with(size, timeout, QCOW2BLK_ALLOW_SHRINK | QCOW2BLK_FORCE_SHRINK)
    }

    fn resize_with(&self, size: u64, timeout: Option<Duration>, flags: u32) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_device_resize(self.as_ptr(), size, milliseconds(timeout), flags) }.into()).map(|_| ())
    }

    /// The internal snapshots of its image.
    pub fn snapshots(&self, timeout: Option<Duration>) -> Result<Vec<Snapshot>> {
        let time = milliseconds(timeout);
        // SAFETY: the handle is open; the callback is called inside the call only, with what it was made for.
        bitmap::snapshots(|each, data| unsafe { qcow2blk_device_list_snapshots(self.as_ptr(), each, data, time, 0) })
    }

    /// Keeps the disk as it is now: all writes that have ended are in the snapshot. The name need not be unique; the ID
    /// that comes back is.
    pub fn create_snapshot(&self, name: &str, timeout: Option<Duration>) -> Result<String> {
        bitmap::made_snapshot(name, |name, id, size| {
            // SAFETY: the handle is open; the name ends with a NUL, and the buffer is as long as it says.
            unsafe { qcow2blk_device_create_snapshot(self.as_ptr(), name, id, size, milliseconds(timeout), 0) }
        })
    }

    /// Forgets a snapshot, by its ID or a name that only one of them has.
    pub fn delete_snapshot(&self, snapshot: &str, timeout: Option<Duration>) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(snapshot, |snapshot| unsafe {
            qcow2blk_device_delete_snapshot(self.as_ptr(), snapshot, milliseconds(timeout), 0)
        })
    }

    /// Makes the disk what it was when a snapshot was made. Its users see other contents at once.
    pub fn revert_snapshot_by_force(&self, snapshot: &str, timeout: Option<Duration>) -> Result<()> {
        let time = milliseconds(timeout);
        bitmap::named(snapshot, |snapshot| {
            // SAFETY: the handle is open; the name ends with a NUL.
            unsafe { qcow2blk_device_revert_snapshot(self.as_ptr(), snapshot, time, QCOW2BLK_FORCE) }
        })
    }

    /// The persistent bitmaps of its image.
    pub fn bitmaps(&self, timeout: Option<Duration>) -> Result<Vec<Bitmap>> {
        let time = milliseconds(timeout);
        // SAFETY: the handle is open; the callback is called inside the call only, with what it was made for.
        bitmap::bitmaps(|each, data| unsafe { qcow2blk_device_list_bitmaps(self.as_ptr(), each, data, time, 0) })
    }

    /// Adds a bitmap, which records from now on. Without a granularity it is the usual one.
    pub fn add_bitmap(&self, name: &str, granularity: Option<u64>, timeout: Option<Duration>) -> Result<()> {
        let bytes = granularity.unwrap_or(0);
        bitmap::named(name, |name| {
            // SAFETY: the handle is open; the name ends with a NUL.
            unsafe { qcow2blk_device_add_bitmap(self.as_ptr(), name, bytes, milliseconds(timeout), 0) }
        })
    }

    /// Adds a bitmap, which does not record before it is enabled. Without a granularity it is the usual one.
    pub fn add_disabled_bitmap(&self, name: &str, granularity: Option<u64>, timeout: Option<Duration>) -> Result<()> {
        let bytes = granularity.unwrap_or(0);
        bitmap::named(name, |name| {
            // SAFETY: the handle is open; the name ends with a NUL.
            unsafe {
                qcow2blk_device_add_bitmap(self.as_ptr(), name, bytes, milliseconds(timeout), QCOW2BLK_BITMAP_DISABLED)
            }
        })
    }

    /// Removes a bitmap, also one that is inconsistent.
    pub fn remove_bitmap(&self, name: &str, timeout: Option<Duration>) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(name, |name| unsafe {
            qcow2blk_device_remove_bitmap(self.as_ptr(), name, milliseconds(timeout), 0)
        })
    }

    /// Clears every bit of a bitmap.
    pub fn clear_bitmap(&self, name: &str, timeout: Option<Duration>) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(name, |name| unsafe {
            qcow2blk_device_clear_bitmap(self.as_ptr(), name, milliseconds(timeout), 0)
        })
    }

    /// Has a bitmap record from now on.
    pub fn enable_bitmap(&self, name: &str, timeout: Option<Duration>) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(name, |name| unsafe {
            qcow2blk_device_enable_bitmap(self.as_ptr(), name, milliseconds(timeout), 0)
        })
    }

    /// Has a bitmap stay as it is now.
    pub fn disable_bitmap(&self, name: &str, timeout: Option<Duration>) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(name, |name| unsafe {
            qcow2blk_device_disable_bitmap(self.as_ptr(), name, milliseconds(timeout), 0)
        })
    }

    /// Adds the bits of `from` to those of `name`.
    pub fn merge_bitmap(&self, name: &str, from: &str, timeout: Option<Duration>) -> Result<()> {
        let from = text::from_str(from)?;
        bitmap::named(name, |name| {
            // SAFETY: the handle is open; the names end with a NUL.
            unsafe { qcow2blk_device_merge_bitmap(self.as_ptr(), name, from.as_ptr(), milliseconds(timeout), 0) }
        })
    }
}
