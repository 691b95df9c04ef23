//! What an image is, whoever drives it.

mod aio;
mod block_status;
mod edits;
mod handle;
mod io;

use std::io::SeekFrom;
use std::path::Path;

use qcow2blk_sys::*;

use crate::bitmap;
use crate::error::{check, Result};
use crate::options::Options;
use crate::snapshot::Snapshot;
use crate::text;

use handle::Handle;

/// All that can be done with an open image. [`Image`](crate::Image) and [`LocalImage`](crate::LocalImage) give it by
/// `Deref`.
#[derive(Debug)]
pub struct Disk {
    handle: Handle,
}

impl Disk {
    pub(crate) fn open(path: Option<&Path>, options: Option<&Options>, flags: u32) -> Result<Self> {
        Ok(Self { handle: Handle::open(path, options, flags)? })
    }

    pub(crate) fn close(self) -> Result<()> {
        self.handle.close()
    }

    pub(crate) fn as_ptr(&self) -> *mut qcow2blk_image {
        self.handle.as_ptr()
    }

    /// How large the virtual disk is, in bytes.
    pub fn size(&self) -> Result<u64> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_image_size(self.as_ptr()) })
    }

    /// How large the unit is that the image allocates, in bytes.
    pub fn cluster_size(&self) -> Result<u64> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_image_cluster_size(self.as_ptr()) })
    }

    /// Whether writes are refused with `EROFS`.
    pub fn is_read_only(&self) -> Result<bool> {
        // SAFETY: the handle is open.
        Ok(check(unsafe { qcow2blk_image_is_read_only(self.as_ptr()) }.into())? != 0)
    }

    /// Which version of the qcow2 format the image has: 2 or 3, and 0 for a raw image.
    pub fn format_version(&self) -> Result<u32> {
        // SAFETY: the handle is open.
        Ok(check(unsafe { qcow2blk_image_format_version(self.as_ptr()) }.into())? as u32)
    }

    /// The name of the backing file, as the image says it.
    pub fn backing_file(&self) -> Result<Option<String>> {
        // SAFETY: the handle is open, and the buffer is as long as it says.
        let name = text::filled(|buffer, size| unsafe { qcow2blk_image_backing_file(self.as_ptr(), buffer, size) })?;
        Ok(Some(name).filter(|name| !name.is_empty()))
    }

    /// All that is known of the open image, as a JSON object: the members of `qcow2blk status --json` that are about
    /// the image.
    pub fn info(&self) -> Result<String> {
        // SAFETY: the handle is open, and the buffer is as long as it says.
        text::filled(|buffer, size| unsafe { qcow2blk_image_info(self.as_ptr(), buffer, size, 0) })
    }

    /// The internal snapshots, in the order of the image.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        // SAFETY: the handle is open; the callback is called inside the call only, with what it was made for.
        bitmap::snapshots(|each, data| unsafe { qcow2blk_image_list_snapshots(self.as_ptr(), each, data, 0) })
    }

    /// How many asynchronous requests have not ended.
    pub fn in_flight(&self) -> Result<usize> {
        // SAFETY: the handle is open.
        Ok(check(unsafe { qcow2blk_image_in_flight(self.as_ptr()) }.into())? as usize)
    }

    /// Where a seek from `position` ends.
    pub(crate) fn seek(&self, position: u64, to: SeekFrom) -> Result<Option<u64>> {
        Ok(match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => position.checked_add_signed(by),
            SeekFrom::End(by) => self.size()?.checked_add_signed(by),
        })
    }
}

impl AsRef<Disk> for Disk {
    fn as_ref(&self) -> &Disk {
        self
    }
}
