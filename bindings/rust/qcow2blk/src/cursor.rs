//! An image as a file with a position.

use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::ops::Deref;

use crate::disk::Disk;
use crate::error::{Error, Result, EINVAL};

/// Reads and writes an image by the traits of `std::io`, at a position of its own.
///
/// `D` is whatever leads to an image: `&Image`, `Arc<Image>`, `Box<LocalImage>` and the like.
///
/// Reads end where the disk ends. Writes there write nothing, which `write_all` reports as
/// [`WriteZero`](io::ErrorKind::WriteZero). `flush` makes what was written survive a loss of power.
///
/// ```no_run
/// use std::io::{copy, Write};
///
/// # fn main() -> std::io::Result<()> {
/// let image = qcow2blk::Image::open("disk.qcow2")?;
/// let mut cursor = image.cursor();
/// copy(&mut std::fs::File::open("disk.raw")?, &mut cursor)?;
/// cursor.flush()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cursor<D> {
    disk: D,
    position: u64,
}

impl<D: Deref> Cursor<D>
where
    D::Target: AsRef<Disk>,
{
    /// Begins at the beginning.
    pub fn new(disk: D) -> Self {
        Self { disk, position: 0 }
    }

    /// Where the next read or write begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Gives back what leads to the image.
    pub fn into_inner(self) -> D {
        self.disk
    }

    fn disk(&self) -> &Disk {
        self.disk.deref().as_ref()
    }

    /// How much of `wanted` there is from the position on.
    fn available(&self, wanted: usize) -> Result<usize> {
        let left = self.disk().size()?.saturating_sub(self.position);
        Ok(usize::try_from(left).map_or(wanted, |left| left.min(wanted)))
    }

    fn advance(&mut self, count: usize) -> usize {
        self.position += count as u64;
        count
    }
}

impl<D: Deref> Read for Cursor<D>
where
    D::Target: AsRef<Disk>,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.available(buffer.len())?;
        if count == 0 {
            return Ok(0);
        }
        let count = self.disk().read_at(&mut buffer[..count], self.position)?;
        Ok(self.advance(count))
    }

    /// One request for all buffers, unless they reach past the end of the disk or are too many for one.
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
        if wanted == 0 || buffers.len() > MOST_BUFFERS || self.available(wanted)? < wanted {
            let first = buffers.iter_mut().find(|buffer| !buffer.is_empty());
            return first.map_or(Ok(0), |buffer| self.read(buffer));
        }
        let count = self.disk().read_vectored_at(buffers, self.position)?;
        Ok(self.advance(count))
    }
}

impl<D: Deref> Write for Cursor<D>
where
    D::Target: AsRef<Disk>,
{
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.available(buffer.len())?;
        if count == 0 {
            return Ok(0);
        }
        let count = self.disk().write_at(&buffer[..count], self.position)?;
        Ok(self.advance(count))
    }

    /// One request for all buffers, unless they reach past the end of the disk or are too many for one.
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
        if wanted == 0 || buffers.len() > MOST_BUFFERS || self.available(wanted)? < wanted {
            let first = buffers.iter().find(|buffer| !buffer.is_empty());
            return first.map_or(Ok(0), |buffer| self.write(buffer));
        }
        let count = self.disk().write_vectored_at(buffers, self.position)?;
        Ok(self.advance(count))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.disk().flush()?)
    }
}

/// The most that the library takes in one request.
const MOST_BUFFERS: usize = 1024;

impl<D: Deref> Seek for Cursor<D>
where
    D::Target: AsRef<Disk>,
{
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = self.disk().seek(self.position, to)?;
        self.position = position.ok_or_else(|| Error::new(EINVAL, "seek to a negative or overflowing position"))?;
        Ok(self.position)
    }
}
