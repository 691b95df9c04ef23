//! Image files that nobody has open.

use std::ffi::{c_char, c_int, c_void};
use std::mem::size_of;
use std::path::Path;
use std::ptr::null_mut;

use qcow2blk_sys::*;

use crate::callback::contain;
use crate::error::{check as checked, Error, Result, EINVAL};
use crate::options::Options;
use crate::text;

/// Makes an image of `size` bytes; of the size of its backing file if that is `None`.
///
/// The options are those after `-o` of `qcow2blk create`, such as `cluster_size` and `backing_file`, and a key if it is
/// to be encrypted. If it fails nothing has changed, except on a block device.
pub fn create(path: impl AsRef<Path>, size: Option<u64>, options: Option<&Options>) -> Result<()> {
    create_with(path.as_ref(), size, options, 0)
}

/// As [`create`], replacing a file that is there already, or overwriting a block device.
pub fn create_over(path: impl AsRef<Path>, size: Option<u64>, options: Option<&Options>) -> Result<()> {
    create_with(path.as_ref(), size, options, QCOW2BLK_CREATE_REPLACE)
}

fn create_with(path: &Path, size: Option<u64>, options: Option<&Options>, flags: u32) -> Result<()> {
    let path = text::from_path(path)?;
    let size = match size.map(i64::try_from) {
        None => -1,
        Some(Ok(size)) => size,
        Some(Err(_)) => return Err(Error::new(EINVAL, "a disk cannot be as large as that")),
    };
    let options = options.map_or(null_mut(), Options::as_ptr);
    // SAFETY: the path ends with a NUL, the options are null or open.
    checked(unsafe { qcow2blk_create(path.as_ptr(), size, options, flags) }.into()).map(|_| ())
}

/// What a check may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    #[default]
    Nothing,
    /// Nothing; and look at an image that somebody is writing. The findings may be wrong.
    NothingAndIgnoreLocks,
    /// Give lost space back.
    Leaks,
    /// Repair all that can be repaired.
    All,
}

/// What a check says of an image as it is afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing is wrong.
    Clean,
    /// Something could not be looked at, or be repaired.
    Incomplete,
    /// There are errors.
    Corrupt,
    /// There are leaks and no errors.
    Leaking,
}

/// What a check tells.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CheckReport {
    /// What is being done, and the part of it that is: 0 to 1.
    Progress(String, f64),
    /// A finding: space is lost.
    Leak(String),
    /// A finding: an error.
    Error(String),
    /// Why the check, or the repair, ended early.
    Stopped(String),
}

/// What a check found: its verdict, and the numbers of `qemu-img check`.
pub type CheckResult = (Verdict, qcow2blk_check_result);

/// Checks the metadata of an image file, and repairs it if that is said. An encrypted image needs no key.
pub fn check(path: impl AsRef<Path>, repair: Repair) -> Result<CheckResult> {
    check_with(path, repair, |_| {})
}

/// As [`check`], telling a closure of progress and findings. It runs on any thread, and must not use this crate. A panic
/// ends that call of the closure and nothing else.
pub fn check_with<F: FnMut(CheckReport) + Send>(
    path: impl AsRef<Path>,
    repair: Repair,
    mut tell: F,
) -> Result<CheckResult> {
    let path = text::from_path(path.as_ref())?;
    let flags = match repair {
        Repair::Nothing => 0,
        Repair::NothingAndIgnoreLocks => QCOW2BLK_CHECK_IGNORE_LOCKS,
        Repair::Leaks => QCOW2BLK_CHECK_REPAIR_LEAKS,
        Repair::All => QCOW2BLK_CHECK_REPAIR_ALL,
    };
    let mut found =
        qcow2blk_check_result { size: size_of::<qcow2blk_check_result>() as u32, ..qcow2blk_check_result::default() };
    let closure = std::ptr::from_mut(&mut tell).cast();
    // SAFETY: the path ends with a NUL; the callback is called inside the call only, one at a time, with what it was made for.
    let result = unsafe { qcow2blk_check(path.as_ptr(), &mut found, Some(tells::<F>), closure, flags) };
    checked(result.into())?;
    let verdict = match result {
        QCOW2BLK_CHECK_CLEAN => Verdict::Clean,
        QCOW2BLK_CHECK_CORRUPT => Verdict::Corrupt,
        QCOW2BLK_CHECK_LEAKING => Verdict::Leaking,
        _ => Verdict::Incomplete,
    };
    Ok((verdict, found))
}

/// # Safety
/// `closure` is an `F`, and the message is a string.
unsafe extern "C" fn tells<F: FnMut(CheckReport) + Send>(
    closure: *mut c_void,
    kind: c_int,
    message: *const c_char,
    done: f64,
) {
    // SAFETY: as said above.
    let (closure, message) = unsafe { (&mut *closure.cast::<F>(), text::copied(message)) };
    contain(|| {
        closure(match kind {
            QCOW2BLK_CHECK_LEAK => CheckReport::Leak(message),
            QCOW2BLK_CHECK_ERROR => CheckReport::Error(message),
            QCOW2BLK_CHECK_STOPPED => CheckReport::Stopped(message),
            _ => CheckReport::Progress(message, done),
        });
    });
}
