//! How something is written.

use std::ops::{BitOr, BitOrAssign};

use qcow2blk_sys::{QCOW2BLK_FAST_ZERO, QCOW2BLK_FUA, QCOW2BLK_NO_HOLE};

/// How something is written. Those that a request does not take make it fail with `EINVAL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// As usual.
    pub const NONE: Self = Self(0);
    /// The change survives a loss of power when the request has ended (force unit access).
    pub const FUA: Self = Self(QCOW2BLK_FUA);
    /// Of a write of zeroes: keep the space allocated, instead of making a hole.
    pub const NO_HOLE: Self = Self(QCOW2BLK_NO_HOLE);
    /// Of a write of zeroes: fail with `EOPNOTSUPP` where it would be no faster than writing zeroes.
    pub const FAST_ZERO: Self = Self(QCOW2BLK_FAST_ZERO);

    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
