//! What a range of the disk holds.

use std::fmt;

use qcow2blk_sys::{qcow2blk_extent, QCOW2BLK_EXTENT_DIRTY, QCOW2BLK_EXTENT_HOLE, QCOW2BLK_EXTENT_ZERO};

/// A range of the disk that is alike.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent(pub(crate) qcow2blk_extent);

impl Extent {
    /// Where it starts.
    pub fn offset(&self) -> u64 {
        self.0.offset
    }

    /// How long it is.
    pub fn length(&self) -> u64 {
        self.0.length
    }

    /// Whether no space is allocated for it.
    pub fn is_hole(&self) -> bool {
        self.0.flags & QCOW2BLK_EXTENT_HOLE != 0
    }

    /// Whether it reads as zeroes.
    pub fn is_zero(&self) -> bool {
        self.0.flags & QCOW2BLK_EXTENT_ZERO != 0
    }

    /// Whether a bitmap has it: [`bitmap_status`](crate::Disk::bitmap_status) alone tells this.
    pub fn is_dirty(&self) -> bool {
        self.0.flags & QCOW2BLK_EXTENT_DIRTY != 0
    }

    /// Which image of the chain has it. 0: none has anything there; 1: the image itself; 2: its backing file; and so
    /// on.
    pub fn depth(&self) -> u32 {
        self.0.depth
    }
}

impl fmt::Debug for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extent")
            .field("offset", &self.offset())
            .field("length", &self.length())
            .field("is_hole", &self.is_hole())
            .field("is_zero", &self.is_zero())
            .field("depth", &self.depth())
            .finish()
    }
}
