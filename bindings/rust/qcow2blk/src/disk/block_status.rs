//! What a range of the disk holds.

use std::ops::ControlFlow;

use qcow2blk_sys::{qcow2blk_extent, qcow2blk_image_block_status};

use super::Disk;
use crate::callback::Walk;
use crate::error::{check, Result};
use crate::extent::Extent;

impl Disk {
    /// What a range of the disk holds: extents in order and without gaps, the last one cut to the range. Two
    /// neighbours may be alike.
    pub fn block_status(&self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let mut extents = vec![];
        let walk = self.for_each_extent(offset, length, |extent| {
            extents.push(extent);
            ControlFlow::<()>::Continue(())
        });
        walk.map(|_| extents)
    }

    /// As [`block_status`](Self::block_status), telling of one extent after the other until the closure breaks. The
    /// closure runs on this thread, and may use the image.
    pub fn for_each_extent<B>(
        &self,
        offset: u64,
        length: u64,
        mut closure: impl FnMut(Extent) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>> {
        let mut outcome = ControlFlow::Continue(());
        let mut walk = Walk::new(|extent: &qcow2blk_extent| {
            outcome = closure(Extent(*extent));
            outcome.is_break()
        });
        // SAFETY: the handle is open; the callback is called inside the call only, with what it was made for.
        let result = unsafe {
            qcow2blk_image_block_status(self.as_ptr(), offset, length, Some(walk.callback()), walk.user_data(), 0)
        };
        walk.end();
        check(result.into())?;
        Ok(outcome)
    }
}
