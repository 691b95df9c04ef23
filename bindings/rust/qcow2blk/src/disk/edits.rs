//! Snapshots and bitmaps, which can be changed while others use the image: their requests wait.

use qcow2blk_sys::*;

use super::Disk;
use crate::bitmap::{self, Bitmap};
use crate::callback::Walk;
use crate::error::{check, Result};
use crate::extent::Extent;
use crate::text;

impl Disk {
    /// Makes the disk larger, or leaves it as it is. What is new reads as zeroes.
    ///
    /// Should the image not open again afterwards, all that needs the disk fails with `EIO`, and it can only be closed.
    pub fn resize(&self, size: u64) -> Result<()> {
        self.resize_with(size, 0)
    }

    /// As [`resize`](Self::resize), also to a smaller size: what is behind the end is lost.
    pub fn resize_or_shrink(&self, size: u64) -> Result<()> {
        self.resize_with(size, QCOW2BLK_ALLOW_SHRINK)
    }

    fn resize_with(&self, size: u64, flags: u32) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_image_resize(self.as_ptr(), size, flags) }.into()).map(|_| ())
    }

    /// Keeps the disk as it is now: all writes that have ended are in the snapshot. The name need not be unique; the ID
    /// that comes back is.
    pub fn create_snapshot(&self, name: &str) -> Result<String> {
        bitmap::made_snapshot(name, |name, id, size| {
            // SAFETY: the handle is open; the name ends with a NUL, and the buffer is as long as it says.
            unsafe { qcow2blk_image_create_snapshot(self.as_ptr(), name, id, size, 0) }
        })
    }

    /// Forgets a snapshot, by its ID or a name that only one of them has.
    pub fn delete_snapshot(&self, snapshot: &str) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(snapshot, |snapshot| unsafe { qcow2blk_image_delete_snapshot(self.as_ptr(), snapshot, 0) })
    }

    /// Makes the disk what it was when a snapshot was made, its size too. What was written since is lost.
    ///
    /// Should the image not open again afterwards, all that needs the disk fails with `EIO`, and it can only be closed.
    pub fn revert_snapshot(&self, snapshot: &str) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(snapshot, |snapshot| unsafe { qcow2blk_image_revert_snapshot(self.as_ptr(), snapshot, 0) })
    }

    /// The persistent bitmaps, in the order of the image.
    pub fn bitmaps(&self) -> Result<Vec<Bitmap>> {
        // SAFETY: the handle is open; the callback is called inside the call only, with what it was made for.
        bitmap::bitmaps(|each, data| unsafe { qcow2blk_image_list_bitmaps(self.as_ptr(), each, data, 0) })
    }

    /// Adds a bitmap, which records from now on. Without a granularity it is the usual one.
    pub fn add_bitmap(&self, name: &str, granularity: Option<u64>) -> Result<()> {
        let bytes = granularity.unwrap_or(0);
        bitmap::named(name, |name| {
            // SAFETY: the handle is open; the name ends with a NUL.
            unsafe { qcow2blk_image_add_bitmap(self.as_ptr(), name, bytes, 0) }
        })
    }

    /// Adds a bitmap, which does not record before it is enabled. Without a granularity it is the usual one.
    pub fn add_disabled_bitmap(&self, name: &str, granularity: Option<u64>) -> Result<()> {
        let bytes = granularity.unwrap_or(0);
        bitmap::named(name, |name| {
            // SAFETY: the handle is open; the name ends with a NUL.
            unsafe { qcow2blk_image_add_bitmap(self.as_ptr(), name, bytes, QCOW2BLK_BITMAP_DISABLED) }
        })
    }

    /// Removes a bitmap, also one that is inconsistent.
    pub fn remove_bitmap(&self, name: &str) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(name, |name| unsafe { qcow2blk_image_remove_bitmap(self.as_ptr(), name, 0) })
    }

    /// Clears every bit of a bitmap.
    pub fn clear_bitmap(&self, name: &str) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(name, |name| unsafe { qcow2blk_image_clear_bitmap(self.as_ptr(), name, 0) })
    }

    /// Has a bitmap record from now on.
    pub fn enable_bitmap(&self, name: &str) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(name, |name| unsafe { qcow2blk_image_enable_bitmap(self.as_ptr(), name, 0) })
    }

    /// Has a bitmap stay as it is now.
    pub fn disable_bitmap(&self, name: &str) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        bitmap::named(name, |name| unsafe { qcow2blk_image_disable_bitmap(self.as_ptr(), name, 0) })
    }

    /// Adds the bits of `from` to those of `name`.
    pub fn merge_bitmap(&self, name: &str, from: &str) -> Result<()> {
        let from = text::from_str(from)?;
        bitmap::named(name, |name| {
            // SAFETY: the handle is open; the names end with a NUL.
            unsafe { qcow2blk_image_merge_bitmap(self.as_ptr(), name, from.as_ptr(), 0) }
        })
    }

    /// What a bitmap says of a range of the disk: extents in order and without gaps, dirty or not. All of them are of
    /// one moment.
    pub fn bitmap_status(&self, name: &str, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let name = text::from_str(name)?;
        let mut extents = vec![];
        let mut walk = Walk::new(|extent: &qcow2blk_extent| {
            extents.push(Extent(*extent));
            false
        });
        let (each, data) = (Some(walk.callback()), walk.user_data());
        // SAFETY: the handle is open; the name ends with a NUL; the callback is called inside the call only.
        let result =
            unsafe { qcow2blk_image_bitmap_status(self.as_ptr(), name.as_ptr(), offset, length, each, data, 0) };
        walk.end();
        check(result.into())?;
        Ok(extents)
    }
}
