//! Which library this is, and what it can do.

use std::fmt;

use qcow2blk_sys::{
    qcow2blk_has_feature, qcow2blk_version, QCOW2BLK_VERSION_MAJOR, QCOW2BLK_VERSION_MINOR, QCOW2BLK_VERSION_PATCH,
};

use crate::error::{check, Result};
use crate::text;

/// A version of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Changes when something is removed.
    pub major: u32,
    /// Changes when something is added.
    pub minor: u32,
    /// Changes with each correction.
    pub patch: u32,
}

/// The version of the interface that this crate was written for.
pub const VERSION: Version =
    Version { major: QCOW2BLK_VERSION_MAJOR, minor: QCOW2BLK_VERSION_MINOR, patch: QCOW2BLK_VERSION_PATCH };

/// The version of the library that is loaded.
pub fn version() -> Version {
    // SAFETY: it has no preconditions.
    let version = unsafe { qcow2blk_version() };
    Version { major: version >> 16, minor: version >> 8 & 0xff, patch: version & 0xff }
}

/// Whether the library, on this machine, can do something: `io_uring` (without it threads do the work), `ublk` and
/// `nbd` (block devices of that kind can be made here and now), `deflate` and `zstd` (compressed clusters of that kind
/// can be read). A name that the library does not know is a feature that it does not have.
pub fn has_feature(name: &str) -> Result<bool> {
    let name = text::from_str(name)?;
    // SAFETY: the name ends with a NUL.
    let result = unsafe { qcow2blk_has_feature(name.as_ptr(), 0) };
    Ok(check(result.into())? != 0)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
