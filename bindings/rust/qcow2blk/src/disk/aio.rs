//! Requests that nobody waits for.

use super::Disk;
use crate::error::Result;
use crate::extent::Extent;
use crate::flags::Flags;
use crate::operation::Operation;
use crate::request::Request;

/// All of these begin at once; the future only tells of their end. It may be dropped: the request goes on, and its
/// buffers are kept until it has ended.
///
/// A request that is not accepted ends at once, with `EAGAIN` if 65536 are in flight.
impl Disk {
    /// Begins to read into the whole buffer, which comes back with the result.
    pub fn read_async(&self, buffer: Vec<u8>, offset: u64) -> Request<(Result<usize>, Vec<u8>)> {
        self.begin(Operation::Read { buffer, offset }, |result, operation| (result, operation.into_buffer()))
    }

    /// Begins to write the buffer, which comes back with the result.
    pub fn write_async(&self, buffer: Vec<u8>, offset: u64) -> Request<(Result<usize>, Vec<u8>)> {
        let operation = Operation::Write { buffer, offset, flags: Flags::NONE };
        self.begin(operation, |result, operation| (result, operation.into_buffer()))
    }

    /// Begins to read into several buffers.
    pub fn read_vectored_async(&self, buffers: Vec<Vec<u8>>, offset: u64) -> Request<(Result<usize>, Vec<Vec<u8>>)> {
        self.begin(Operation::ReadVectored { buffers, offset }, |result, operation| (result, operation.into_buffers()))
    }

    /// Begins to write from several buffers.
    pub fn write_vectored_async(&self, buffers: Vec<Vec<u8>>, offset: u64) -> Request<(Result<usize>, Vec<Vec<u8>>)> {
        let operation = Operation::WriteVectored { buffers, offset, flags: Flags::NONE };
        self.begin(operation, |result, operation| (result, operation.into_buffers()))
    }

    /// Begins to flush. Flushes that meet share their work.
    pub fn flush_async(&self) -> Request<Result<()>> {
        self.begin(Operation::Flush, |result, _| result.map(|_| ()))
    }

    /// Begins to discard.
    pub fn discard_async(&self, offset: u64, length: u64) -> Request<Result<()>> {
        let operation = Operation::Discard { offset, length, flags: Flags::NONE };
        self.begin(operation, |result, _| result.map(|_| ()))
    }

    /// Begins to write zeroes.
    pub fn write_zeroes_async(&self, offset: u64, length: u64) -> Request<Result<()>> {
        let operation = Operation::WriteZeroes { offset, length, flags: Flags::NONE };
        self.begin(operation, |result, _| result.map(|_| ()))
    }

    /// Begins to find out what a range of the disk holds: at least one and at most `max` extents, from `offset` on and
    /// without gaps. They may end before the range does.
    pub fn block_status_async(&self, offset: u64, length: u64, max: usize) -> Request<Result<Vec<Extent>>> {
        let operation = Operation::BlockStatus { offset, length, extents: vec![Extent::default(); max] };
        self.begin(operation, |result, operation| result.map(|_| operation.into_extents()))
    }

    /// Begins any request, such as a write with [`Flags::FUA`]. The operation comes back with its buffers.
    pub fn start(&self, operation: Operation) -> Request<(Result<usize>, Operation)> {
        self.begin(operation, |result, operation| (result, operation))
    }

    fn begin<O>(&self, operation: Operation, finish: fn(Result<usize>, Operation) -> O) -> Request<O> {
        Request::begin(self, operation, finish)
    }
}
