//! How an image is opened or attached.

use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{null_mut, NonNull};

use qcow2blk_sys::{
    qcow2blk_options, qcow2blk_options_add_fd, qcow2blk_options_close, qcow2blk_options_create, qcow2blk_options_set,
    qcow2blk_options_set_key,
};

use crate::error::{check, Result};
use crate::text;

/// How an image is opened or attached. It can be used for any number of images and devices.
///
/// ```no_run
/// use qcow2blk::{Image, Options};
///
/// # fn main() -> qcow2blk::Result<()> {
/// let mut options = Options::new()?;
/// options.set("cache-size", "64M")?.set("snapshot", "before")?;
/// let image = Image::open_with("disk.qcow2", &options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Options {
    handle: NonNull<qcow2blk_options>,
}

// SAFETY: any thread may use the handle; what needs one thread at a time takes `&mut self`.
unsafe impl Send for Options {}
// SAFETY: by `&self` it is only read.
unsafe impl Sync for Options {}

impl Options {
    /// Begins a set of options.
    pub fn new() -> Result<Self> {
        let mut handle = null_mut();
        // SAFETY: the handle goes into our variable.
        let result = unsafe { qcow2blk_options_create(&mut handle, 0) };
        check(result.into())?;
        Ok(Self { handle: NonNull::new(handle).expect("the library makes a handle or fails") })
    }

    /// Sets an option. Names and values are those of `qcow2blk attach` without the dashes, such as `cache-size` and
    /// `64M`; flags take `true` and `false`. Those after `-o` of `qcow2blk create` are for
    /// [`create`](crate::create) alone. An option that can be given several times gets one value more with each
    /// call. If it fails, the options are as they were.
    pub fn set(&mut self, name: &str, value: &str) -> Result<&mut Self> {
        let (name, value) = (text::from_str(name)?, text::from_str(value)?);
        // SAFETY: the handle is open; the strings end with a NUL.
        let result = unsafe { qcow2blk_options_set(self.as_ptr(), name.as_ptr(), value.as_ptr(), 0) };
        check(result.into())?;
        Ok(self)
    }

    /// Gives the key of an encrypted image, in the place of the one before: the passphrase of LUKS, without a line end.
    /// The library keeps it in locked memory, and wipes it when the options and what was opened with them are closed.
    pub fn set_key(&mut self, key: &[u8]) -> Result<&mut Self> {
        // SAFETY: the handle is open; the key is as long as it says.
        let result = unsafe { qcow2blk_options_set_key(self.as_ptr(), key.as_ptr().cast(), key.len(), 0) };
        check(result.into())?;
        Ok(self)
    }

    /// Gives an open file of the backing chain: first the image itself, then its backing file, and so on down to the
    /// base. If any are given, all must be: no file is opened by name then. The descriptor is duplicated.
    pub fn add_fd(&mut self, file: impl AsFd) -> Result<&mut Self> {
        // SAFETY: the handle is open.
        let result = unsafe { qcow2blk_options_add_fd(self.as_ptr(), file.as_fd().as_raw_fd(), 0) };
        check(result.into())?;
        Ok(self)
    }

    pub(crate) fn as_ptr(&self) -> *mut qcow2blk_options {
        self.handle.as_ptr()
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nobody uses it afterwards. That it is not such a handle is its only error.
        unsafe { qcow2blk_options_close(self.as_ptr(), 0) };
    }
}
