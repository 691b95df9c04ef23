//! Requests that the caller waits for.

use std::ffi::c_int;
use std::io::{IoSlice, IoSliceMut};

use qcow2blk_sys::*;

use super::Disk;
use crate::error::{check, Error, Result, EINVAL};
use crate::flags::Flags;

impl Disk {
    /// Fills the buffer with what is at `offset`. All of it is read or none: the result is the length of the buffer.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        // SAFETY: the handle is open, and the buffer is as long as it says.
        let result =
            unsafe { qcow2blk_image_pread(self.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), offset, 0) };
        Ok(check(result as i64)? as usize)
    }

    /// Writes the buffer to `offset`. All of it is written, or any part of it may have been. It survives a loss of
    /// power after the next [`flush`](Self::flush).
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> Result<usize> {
        self.write_at_with(buffer, offset, Flags::NONE)
    }

    /// As [`write_at`](Self::write_at), with [`Flags::FUA`].
    pub fn write_at_with(&self, buffer: &[u8], offset: u64, flags: Flags) -> Result<usize> {
        let (start, count) = (buffer.as_ptr().cast(), buffer.len());
        // SAFETY: the handle is open, and the buffer is as long as it says.
        let result = unsafe { qcow2blk_image_pwrite(self.as_ptr(), start, count, offset, flags.bits()) };
        Ok(check(result as i64)? as usize)
    }

    /// As [`read_at`](Self::read_at), filling one buffer after the other, up to 1024 of them.
    pub fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        let count = vector_count(buffers.len())?;
        // SAFETY: the handle is open, the buffers are as long as they say, and an IoSliceMut is laid out as an iovec.
        let result = unsafe { qcow2blk_image_preadv(self.as_ptr(), buffers.as_ptr().cast(), count, offset, 0) };
        Ok(check(result as i64)? as usize)
    }

    /// As [`write_at`](Self::write_at), taking one buffer after the other, up to 1024 of them.
    pub fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.write_vectored_at_with(buffers, offset, Flags::NONE)
    }

    /// As [`write_vectored_at`](Self::write_vectored_at), with [`Flags::FUA`].
    pub fn write_vectored_at_with(&self, buffers: &[IoSlice<'_>], offset: u64, flags: Flags) -> Result<usize> {
        let (vectors, count) = (buffers.as_ptr().cast(), vector_count(buffers.len())?);
        // SAFETY: the handle is open, the buffers are as long as they say, and an IoSlice is laid out as an iovec.
        let result = unsafe { qcow2blk_image_pwritev(self.as_ptr(), vectors, count, offset, flags.bits()) };
        Ok(check(result as i64)? as usize)
    }

    /// Makes everything that was written survive a loss of power. It covers the writes that had ended before the call.
    pub fn flush(&self) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_image_flush(self.as_ptr(), 0) }.into()).map(|_| ())
    }

    /// Frees the clusters inside a range. Whole clusters read as zeroes afterwards, the rest of the range is left as
    /// it is.
    pub fn discard(&self, offset: u64, length: u64) -> Result<()> {
        self.discard_with(offset, length, Flags::NONE)
    }

    /// As [`discard`](Self::discard), with [`Flags::FUA`].
    pub fn discard_with(&self, offset: u64, length: u64, flags: Flags) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_image_discard(self.as_ptr(), offset, length, flags.bits()) }.into()).map(|_| ())
    }

    /// Makes a range read as zeroes, by the cheapest means.
    pub fn write_zeroes(&self, offset: u64, length: u64) -> Result<()> {
        self.write_zeroes_with(offset, length, Flags::NONE)
    }

    /// As [`write_zeroes`](Self::write_zeroes), with [`Flags::FUA`], [`Flags::NO_HOLE`] and [`Flags::FAST_ZERO`].
    pub fn write_zeroes_with(&self, offset: u64, length: u64, flags: Flags) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_image_write_zeroes(self.as_ptr(), offset, length, flags.bits()) }.into()).map(|_| ())
    }
}

fn vector_count(buffers: usize) -> Result<c_int> {
    buffers.try_into().map_err(|_| Error::new(EINVAL, format!("{buffers} buffers are more than a request may have")))
}
