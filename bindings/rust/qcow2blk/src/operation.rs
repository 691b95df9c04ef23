//! A request with the buffers that it needs.

use std::ffi::{c_int, c_void};
use std::fmt;

use qcow2blk_sys::*;

use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::flags::Flags;

/// A request with the buffers that it needs. They are given back when it has ended.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Fills the buffer with what is at the offset.
    Read {
        /// Filled to its length.
        buffer: Vec<u8>,
        /// Where on the disk.
        offset: u64,
    },
    /// Writes the buffer to the offset.
    Write {
        /// What is written.
        buffer: Vec<u8>,
        /// Where on the disk.
        offset: u64,
        /// [`Flags::FUA`] or none.
        flags: Flags,
    },
    /// Fills one buffer after the other.
    ReadVectored {
        /// Each is filled to its length.
        buffers: Vec<Vec<u8>>,
        /// Where on the disk.
        offset: u64,
    },
    /// Writes one buffer after the other.
    WriteVectored {
        /// What is written.
        buffers: Vec<Vec<u8>>,
        /// Where on the disk.
        offset: u64,
        /// [`Flags::FUA`] or none.
        flags: Flags,
    },
    /// Makes everything that was written survive a loss of power.
    Flush,
    /// Frees the clusters inside a range.
    Discard {
        /// Where on the disk.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// [`Flags::FUA`] or none.
        flags: Flags,
    },
    /// Makes a range read as zeroes.
    WriteZeroes {
        /// Where on the disk.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// Any of them.
        flags: Flags,
    },
    /// Finds out what a range of the disk holds.
    BlockStatus {
        /// Where on the disk.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// Its length says how many are wanted at most; it is cut to those that were found.
        extents: Vec<Extent>,
    },
}

impl Operation {
    /// The buffer of a read or a write; of any other, an empty one.
    pub fn into_buffer(self) -> Vec<u8> {
        match self {
            Self::Read { buffer, .. } | Self::Write { buffer, .. } => buffer,
            _ => vec![],
        }
    }

    /// The buffers of a vectored read or write; of any other, none.
    pub fn into_buffers(self) -> Vec<Vec<u8>> {
        match self {
            Self::ReadVectored { buffers, .. } | Self::WriteVectored { buffers, .. } => buffers,
            _ => vec![],
        }
    }

    /// The extents that were found; of any other request, none.
    pub fn into_extents(self) -> Vec<Extent> {
        match self {
            Self::BlockStatus { extents, .. } => extents,
            _ => vec![],
        }
    }

    /// What the library is called with. It points into the buffers of this operation.
    pub(crate) fn call(&mut self) -> Call {
        match self {
            Self::Read { buffer, offset } => Call::Read(buffer.as_mut_ptr(), buffer.len(), *offset),
            Self::Write { buffer, offset, flags } => Call::Write(buffer.as_ptr(), buffer.len(), *offset, flags.bits()),
            Self::ReadVectored { buffers, offset } => Call::ReadVectored(vectors(buffers), *offset),
            Self::WriteVectored { buffers, offset, flags } => {
                Call::WriteVectored(vectors(buffers), *offset, flags.bits())
            }
            Self::Flush => Call::Flush,
            Self::Discard { offset, length, flags } => Call::Discard(*offset, *length, flags.bits()),
            Self::WriteZeroes { offset, length, flags } => Call::WriteZeroes(*offset, *length, flags.bits()),
            Self::BlockStatus { offset, length, extents } => {
                let max = extents.len().try_into().unwrap_or(u32::MAX);
                Call::BlockStatus(*offset, *length, extents.as_mut_ptr(), max)
            }
        }
    }

    /// Takes in the result of the request.
    pub(crate) fn complete(&mut self, result: i64) -> Result<usize> {
        let result = usize::try_from(result).map_err(|_| Error::of_completion(result));
        if let Self::BlockStatus { extents, .. } = self {
            extents.truncate(*result.as_ref().unwrap_or(&0));
        }
        result
    }
}

/// For readers of logs: lengths, not contents.
impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |buffers: &[Vec<u8>]| buffers.iter().map(Vec::len).sum::<usize>();
        match self {
            Self::Read { buffer, offset } => write!(f, "Read({} bytes at {offset})", buffer.len()),
            Self::Write { buffer, offset, flags } => {
                write!(f, "Write({} bytes at {offset}, {flags:?})", buffer.len())
            }
            Self::ReadVectored { buffers, offset } => write!(f, "ReadVectored({} bytes at {offset})", sum(buffers)),
            Self::WriteVectored { buffers, offset, flags } => {
                write!(f, "WriteVectored({} bytes at {offset}, {flags:?})", sum(buffers))
            }
            Self::Flush => f.write_str("Flush"),
            Self::Discard { offset, length, flags } => write!(f, "Discard({length} bytes at {offset}, {flags:?})"),
            Self::WriteZeroes { offset, length, flags } => {
                write!(f, "WriteZeroes({length} bytes at {offset}, {flags:?})")
            }
            Self::BlockStatus { offset, length, extents } => {
                write!(f, "BlockStatus({length} bytes at {offset}, {} extents)", extents.len())
            }
        }
    }
}

fn vectors(buffers: &mut [Vec<u8>]) -> Vec<iovec> {
    buffers.iter_mut().map(|b| iovec { iov_base: b.as_mut_ptr().cast::<c_void>(), iov_len: b.len() }).collect()
}

/// The arguments of an asynchronous function: pointers only, because the operation may have ended, and be gone, before
/// the function returns.
pub(crate) enum Call {
    Read(*mut u8, usize, u64),
    Write(*const u8, usize, u64, u32),
    ReadVectored(Vec<iovec>, u64),
    WriteVectored(Vec<iovec>, u64, u32),
    Flush,
    Discard(u64, u64, u32),
    WriteZeroes(u64, u64, u32),
    BlockStatus(u64, u64, *mut Extent, u32),
}

impl Call {
    /// # Safety
    /// The image is open. What this was made from stays where it is, untouched, until the completion.
    pub(crate) unsafe fn submit(&self, image: *mut qcow2blk_image, notify: &qcow2blk_notify) -> c_int {
        // SAFETY: the caller keeps the buffers. Of vectors, the library copies the array before it returns. An Extent
        // is laid out as the structure of the library.
        unsafe {
            match self {
                Self::Read(start, count, offset) => {
                    qcow2blk_image_aio_pread(image, start.cast(), *count, *offset, notify, 0)
                }
                Self::Write(start, count, offset, flags) => {
                    qcow2blk_image_aio_pwrite(image, start.cast(), *count, *offset, notify, *flags)
                }
                Self::ReadVectored(vectors, offset) => {
                    qcow2blk_image_aio_preadv(image, vectors.as_ptr(), count(vectors), *offset, notify, 0)
                }
                Self::WriteVectored(vectors, offset, flags) => {
                    qcow2blk_image_aio_pwritev(image, vectors.as_ptr(), count(vectors), *offset, notify, *flags)
                }
                Self::Flush => qcow2blk_image_aio_flush(image, notify, 0),
                Self::Discard(offset, length, flags) => {
                    qcow2blk_image_aio_discard(image, *offset, *length, notify, *flags)
                }
                Self::WriteZeroes(offset, length, flags) => {
                    qcow2blk_image_aio_write_zeroes(image, *offset, *length, notify, *flags)
                }
                Self::BlockStatus(offset, length, extents, max) => {
                    qcow2blk_image_aio_block_status(image, *offset, *length, extents.cast(), *max, notify, 0)
                }
            }
        }
    }
}

/// More than the library takes is refused by the library.
fn count(vectors: &[iovec]) -> c_int {
    vectors.len().try_into().unwrap_or(c_int::MAX)
}

/// A request that was not accepted: why, and all that was given.
#[derive(Debug)]
pub struct Rejected<T = ()> {
    /// Why. `EAGAIN`: too many requests are in flight.
    pub error: Error,
    /// The request with its buffers.
    pub operation: Operation,
    /// What was to come back with the result.
    pub token: T,
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T: fmt::Debug> std::error::Error for Rejected<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<T> From<Rejected<T>> for Error {
    fn from(rejected: Rejected<T>) -> Self {
        rejected.error
    }
}
