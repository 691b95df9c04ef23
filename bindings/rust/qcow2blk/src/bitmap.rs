//! Persistent dirty bitmaps.

use std::ffi::{c_char, c_int, c_void};

use qcow2blk_sys::{
    qcow2blk_bitmap, qcow2blk_snapshot, QCOW2BLK_BITMAP_EXPORTED, QCOW2BLK_BITMAP_INCONSISTENT,
    QCOW2BLK_BITMAP_RECORDS, QCOW2BLK_SNAPSHOT_ID_SIZE,
};

use crate::callback::Walk;
use crate::error::{check, Result};
use crate::snapshot::Snapshot;
use crate::text;

/// A persistent dirty bitmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Unique in the image.
    pub name: String,
    /// Bytes of the disk that a bit stands for.
    pub granularity: u64,
    /// Bytes of the disk that its bits stand for; `None` if nobody can tell.
    pub dirty_bytes: Option<u64>,
    /// Whether it follows every change of the disk.
    pub is_recording: bool,
    /// Whether it is of no use: whoever wrote the image last did not keep it.
    pub is_inconsistent: bool,
    /// Whether NBD clients look at it.
    pub is_exported: bool,
}

impl Bitmap {
    /// # Safety
    /// The name of the structure is valid.
    unsafe fn copy_of(raw: &qcow2blk_bitmap) -> Self {
        Self {
            // SAFETY: the caller says that it is a string.
            name: unsafe { text::copied(raw.name) },
            granularity: raw.granularity,
            dirty_bytes: raw.dirty_bytes.try_into().ok(),
            is_recording: raw.flags & QCOW2BLK_BITMAP_RECORDS != 0,
            is_inconsistent: raw.flags & QCOW2BLK_BITMAP_INCONSISTENT != 0,
            is_exported: raw.flags & QCOW2BLK_BITMAP_EXPORTED != 0,
        }
    }
}

pub(crate) type OfEach<T> = unsafe extern "C" fn(*mut c_void, *const T) -> c_int;

/// Collects the bitmaps that a function tells of.
pub(crate) fn bitmaps(list: impl FnOnce(Option<OfEach<qcow2blk_bitmap>>, *mut c_void) -> c_int) -> Result<Vec<Bitmap>> {
    let mut found = vec![];
    let mut walk = Walk::new(|bitmap: &qcow2blk_bitmap| {
        // SAFETY: its name is valid during the callback.
        found.push(unsafe { Bitmap::copy_of(bitmap) });
        false
    });
    let result = list(Some(walk.callback()), walk.user_data());
    walk.end();
    check(result.into())?;
    Ok(found)
}

/// Collects the snapshots that a function tells of.
pub(crate) fn snapshots(
    list: impl FnOnce(Option<OfEach<qcow2blk_snapshot>>, *mut c_void) -> c_int,
) -> Result<Vec<Snapshot>> {
    let mut found = vec![];
    let mut walk = Walk::new(|snapshot: &qcow2blk_snapshot| {
        // SAFETY: its strings are valid during the callback.
        found.push(unsafe { Snapshot::copy_of(snapshot) });
        false
    });
    let result = list(Some(walk.callback()), walk.user_data());
    walk.end();
    check(result.into())?;
    Ok(found)
}

/// Makes a snapshot by a function that fills in its ID.
pub(crate) fn made_snapshot(
    name: &str,
    make: impl FnOnce(*const c_char, *mut c_char, usize) -> c_int,
) -> Result<String> {
    let name = text::from_str(name)?;
    let mut id = [0 as c_char; QCOW2BLK_SNAPSHOT_ID_SIZE as usize];
    check(make(name.as_ptr(), id.as_mut_ptr(), id.len()).into())?;
    // SAFETY: the library ends it with a NUL.
    Ok(unsafe { text::copied(id.as_ptr()) })
}

/// Does something with what has a name.
pub(crate) fn named(name: &str, call: impl FnOnce(*const c_char) -> c_int) -> Result<()> {
    let name = text::from_str(name)?;
    check(call(name.as_ptr()).into()).map(|_| ())
}
