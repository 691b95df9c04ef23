//! An image with a thread of its own.

use std::ops::Deref;
use std::path::Path;

use qcow2blk_sys::QCOW2BLK_OPEN_READ_ONLY;

use crate::cursor::Cursor;
use crate::disk::Disk;
use crate::error::Result;
use crate::operation::{Operation, Rejected};
use crate::options::Options;

/// An open image, for any number of threads at once.
///
/// What can be done with it is described at [`Disk`]. Dropping it closes it, as [`close`](Self::close) does, but tells
/// nobody of errors.
#[derive(Debug)]
pub struct Image {
    disk: Disk,
}

// SAFETY: any thread may call any function of the library with an image that has a thread of its own.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Image {
    /// Opens a qcow2 image and all its backing files. It is locked as qemu locks it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { disk: Disk::open(Some(path.as_ref()), None, 0)? })
    }

    /// Opens an image for reading only. Several processes may have it open so, but none that writes.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { disk: Disk::open(Some(path.as_ref()), None, QCOW2BLK_OPEN_READ_ONLY)? })
    }

    /// Opens an image as the options say. Those that are for devices are refused.
    pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        Ok(Self { disk: Disk::open(Some(path.as_ref()), Some(options), 0)? })
    }

    /// Opens the image whose descriptors the options have ([`Options::add_fd`]).
    pub fn open_descriptors(options: &Options) -> Result<Self> {
        Ok(Self { disk: Disk::open(None, Some(options), 0)? })
    }

    /// Reads and writes the image by the traits of `std::io`, from its beginning on.
    pub fn cursor(&self) -> Cursor<&Self> {
        Cursor::new(self)
    }

    /// Ends all requests, writes everything out and closes the image. Requests that have not begun end with
    /// `ECANCELED`, those that have begun are waited for.
    ///
    /// The image is closed whatever the result: an error says that what was written since the last flush may be lost.
    /// Called from a closure of the image ([`submit`](Self::submit)), it fails with `EDEADLK`, and another thread
    /// closes the image.
    pub fn close(self) -> Result<()> {
        self.disk.close()
    }

    /// Begins a request, and has a closure told of its end.
    ///
    /// The closure runs on the thread of the image, never inside this call. It should be short, as all requests of the
    /// image wait for it. It may begin other requests; whatever has to wait fails there with `EDEADLK`. A panic ends
    /// the closure and nothing else.
    pub fn submit(
        &self,
        operation: Operation,
        closure: impl FnOnce(Result<usize>, Operation) + Send + 'static,
    ) -> std::result::Result<(), Rejected> {
        self.disk.submit(operation, closure)
    }
}

impl Deref for Image {
    type Target = Disk;

    fn deref(&self) -> &Disk {
        &self.disk
    }
}

impl AsRef<Disk> for Image {
    fn as_ref(&self) -> &Disk {
        &self.disk
    }
}
