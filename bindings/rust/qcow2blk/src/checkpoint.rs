//! Checkpoints of images and devices.

use std::ffi::{c_int, c_void};
use std::time::{Duration, SystemTime};

use qcow2blk_sys::*;

use crate::bitmap::{named, OfEach};
use crate::callback::Walk;
use crate::device::Device;
use crate::disk::Disk;
use crate::error::{check, Result};
use crate::queue::milliseconds;
use crate::snapshot::date;
use crate::text;

/// A snapshot and a bitmap of the same name: the disk as it was, and what has changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of snapshot and bitmap.
    pub name: String,
    /// As `qemu-img snapshot -l` shows it.
    pub snapshot_id: String,
    /// When it was made.
    pub date: SystemTime,
    /// Bytes of the disk that a bit stands for.
    pub granularity: u64,
    /// Bytes of the disk that changed up to the next one; `None` if nobody can tell.
    pub dirty_bytes: Option<u64>,
    /// Whether its bitmap follows every change of the disk, as that of the last one does.
    pub is_recording: bool,
    /// Whether its bitmap is of no use: whoever wrote the image last did not keep it.
    pub is_inconsistent: bool,
}

impl Checkpoint {
    /// # Safety
    /// The strings of the structure are valid.
    unsafe fn copy_of(raw: &qcow2blk_checkpoint) -> Self {
        // SAFETY: the caller says that they are strings.
        let (name, snapshot_id) = unsafe { (text::copied(raw.name), text::copied(raw.snapshot_id)) };
        Self {
            name,
            snapshot_id,
            date: date(raw.date_seconds, raw.date_nanoseconds),
            granularity: raw.granularity,
            dirty_bytes: raw.dirty_bytes.try_into().ok(),
            is_recording: raw.flags & QCOW2BLK_BITMAP_RECORDS != 0,
            is_inconsistent: raw.flags & QCOW2BLK_BITMAP_INCONSISTENT != 0,
        }
    }
}

/// Collects the checkpoints that a function tells of.
fn listed(list: impl FnOnce(Option<OfEach<qcow2blk_checkpoint>>, *mut c_void) -> c_int) -> Result<Vec<Checkpoint>> {
    let mut found = vec![];
    let mut walk = Walk::new(|checkpoint: &qcow2blk_checkpoint| {
        // SAFETY: its strings are valid during the callback.
        found.push(unsafe { Checkpoint::copy_of(checkpoint) });
        false
    });
    let result = list(Some(walk.callback()), walk.user_data());
    walk.end();
    check(result.into())?;
    Ok(found)
}

impl Disk {
    /// The checkpoints, the oldest first.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        // SAFETY: the handle is open; the callback is called inside the call only, with what it was made for.
        listed(|each, data| unsafe { qcow2blk_image_list_checkpoints(self.as_ptr(), each, data, 0) })
    }

    /// Keeps the disk as it is now, and has a bitmap record what changes from now on; that of the checkpoint before
    /// stops. Without a granularity it is that of the checkpoint before, or the usual one.
    pub fn create_checkpoint(&self, name: &str, granularity: Option<u64>) -> Result<()> {
        let bytes = granularity.unwrap_or(0);
        named(name, |name| {
            // SAFETY: the handle is open; the name ends with a NUL.
            unsafe { qcow2blk_image_create_checkpoint(self.as_ptr(), name, bytes, 0) }
        })
    }

    /// Forgets a checkpoint; what changed since is added to the one before. One that is not there is deleted already.
    pub fn delete_checkpoint(&self, name: &str) -> Result<()> {
        // SAFETY: the handle is open; the name ends with a NUL.
        named(name, |name| unsafe { qcow2blk_image_delete_checkpoint(self.as_ptr(), name, 0) })
    }
}

impl Device {
    /// The checkpoints of its image, the oldest first.
    pub fn checkpoints(&self, timeout: Option<Duration>) -> Result<Vec<Checkpoint>> {
        let time = milliseconds(timeout);
        // SAFETY: the handle is open; the callback is called inside the call only, with what it was made for.
        listed(|each, data| unsafe { qcow2blk_device_list_checkpoints(self.as_ptr(), each, data, time, 0) })
    }

    /// As [`create_checkpoint_of`](Self::create_checkpoint_of), of this device alone.
    pub fn create_checkpoint(&self, name: &str, granularity: Option<u64>, timeout: Option<Duration>) -> Result<()> {
        Self::create_checkpoint_of(&[self], name, granularity, timeout)
    }

    /// Makes a checkpoint of several devices, all of the same instant: of all of them or of none.
    pub fn create_checkpoint_of(
        devices: &[&Self],
        name: &str,
        granularity: Option<u64>,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let handles: Vec<_> = devices.iter().map(|device| device.as_ptr()).collect();
        let (bytes, time) = (granularity.unwrap_or(0), milliseconds(timeout));
        named(name, |name| {
            // SAFETY: the handles are open, and as many as it says; the name ends with a NUL.
            unsafe { qcow2blk_devices_create_checkpoint(handles.as_ptr(), handles.len(), name, bytes, time, 0) }
        })
    }

    /// Forgets a checkpoint; what changed since is added to the one before. One that is not there is deleted already.
    pub fn delete_checkpoint(&self, name: &str, timeout: Option<Duration>) -> Result<()> {
        let time = milliseconds(timeout);
        // SAFETY: the handle is open; the name ends with a NUL.
        named(name, |name| unsafe { qcow2blk_device_delete_checkpoint(self.as_ptr(), name, time, 0) })
    }
}
