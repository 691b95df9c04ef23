//! An image without a thread.

use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use qcow2blk_sys::{qcow2blk_image_fd, qcow2blk_image_process, QCOW2BLK_OPEN_CALLER_LOOP, QCOW2BLK_OPEN_READ_ONLY};

use crate::cursor::Cursor;
use crate::disk::Disk;
use crate::error::{check, Result};
use crate::operation::{Operation, Rejected};
use crate::options::Options;

/// An open image without a thread: it does its work inside [`process`](Self::process) and inside requests that are
/// waited for. It belongs to the thread that opened it.
///
/// ```compile_fail,E0277
/// fn needs_send(_: impl Send) {}
/// needs_send(qcow2blk::LocalImage::open("disk.qcow2").unwrap());
/// ```
///
/// Wait for its descriptor to become readable, with `poll` or the like, and call [`process`](Self::process) then, and
/// after you have begun requests. What can be done with it is described at [`Disk`].
///
/// Do not drop it inside a closure that the library has called, such as that of another image: nothing can be waited for
/// there, and it would stay open.
#[derive(Debug)]
pub struct LocalImage {
    disk: Disk,
    fd: RawFd,
}

impl LocalImage {
    /// As [`Image::open`](crate::Image::open).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(Some(path.as_ref()), None, 0)
    }

    /// As [`Image::open_read_only`](crate::Image::open_read_only).
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(Some(path.as_ref()), None, QCOW2BLK_OPEN_READ_ONLY)
    }

    /// As [`Image::open_with`](crate::Image::open_with).
    pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        Self::new(Some(path.as_ref()), Some(options), 0)
    }

    /// As [`Image::open_descriptors`](crate::Image::open_descriptors).
    pub fn open_descriptors(options: &Options) -> Result<Self> {
        Self::new(None, Some(options), 0)
    }

    fn new(path: Option<&Path>, options: Option<&Options>, flags: u32) -> Result<Self> {
        let disk = Disk::open(path, options, flags | QCOW2BLK_OPEN_CALLER_LOOP)?;
        // SAFETY: the handle is open.
        let fd = check(unsafe { qcow2blk_image_fd(disk.as_ptr()) }.into())? as RawFd;
        Ok(Self { disk, fd })
    }

    /// Reads and writes the image by the traits of `std::io`, from its beginning on.
    pub fn cursor(&self) -> Cursor<&Self> {
        Cursor::new(self)
    }

    /// As [`Image::close`](crate::Image::close).
    pub fn close(self) -> Result<()> {
        self.disk.close()
    }

    /// Does what there is to do, without waiting: hands new requests to the kernel, takes what is finished, and runs
    /// closures and wakers.
    ///
    /// Returns how many requests ended.
    pub fn process(&self) -> Result<usize> {
        // SAFETY: the handle is open, and this is its thread.
        Ok(check(unsafe { qcow2blk_image_process(self.disk.as_ptr(), 0) }.into())? as usize)
    }

    /// As [`Image::submit`](crate::Image::submit), but that the closure runs on this thread, inside
    /// [`process`](Self::process) or a request that is waited for.
    pub fn submit(
        &self,
        operation: Operation,
        closure: impl FnOnce(Result<usize>, Operation) + 'static,
    ) -> std::result::Result<(), Rejected> {
        self.disk.submit(operation, closure)
    }
}

/// Readable while there is something to do. Only look at it: do not read or write it.
impl AsFd for LocalImage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it stays open as long as the image.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl AsRawFd for LocalImage {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Deref for LocalImage {
    type Target = Disk;

    fn deref(&self) -> &Disk {
        &self.disk
    }
}

impl AsRef<Disk> for LocalImage {
    fn as_ref(&self) -> &Disk {
        &self.disk
    }
}
