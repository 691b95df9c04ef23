//! The handle of an open image, closed once.

use std::mem::ManuallyDrop;
use std::path::Path;
use std::ptr::{null, null_mut, NonNull};

use qcow2blk_sys::{qcow2blk_image, qcow2blk_image_close, qcow2blk_image_open, QCOW2BLK_OPEN_CALLER_LOOP};

use crate::callback::OtherThread;
use crate::error::{check, Result, EDEADLK};
use crate::options::Options;
use crate::text;

#[derive(Debug)]
pub(super) struct Handle {
    image: NonNull<qcow2blk_image>,
    /// Whether it belongs to the thread that opened it.
    is_local: bool,
}

impl Handle {
    pub(super) fn open(path: Option<&Path>, options: Option<&Options>, flags: u32) -> Result<Self> {
        let path = path.map(text::from_path).transpose()?;
        let path = path.as_ref().map_or(null(), |path| path.as_ptr());
        let options = options.map_or(null_mut(), Options::as_ptr);
        let mut handle = null_mut();
        // SAFETY: the path is null or ends with a NUL; the options are null or open; the handle goes into our variable.
        let result = unsafe { qcow2blk_image_open(path, options, &mut handle, flags) };
        check(result.into())?;
        let image = NonNull::new(handle).expect("the library makes a handle or fails");
        Ok(Self { image, is_local: flags & QCOW2BLK_OPEN_CALLER_LOOP != 0 })
    }

    pub(super) fn as_ptr(&self) -> *mut qcow2blk_image {
        self.image.as_ptr()
    }

    pub(super) fn close(self) -> Result<()> {
        check(ManuallyDrop::new(self).end().into()).map(|_| ())
    }

    /// A waker or a closure that had the last reference may be dropped inside a callback of the image, where nobody
    /// can wait for the image to end. Another thread does it then, unless the image belongs to this one: then it stays
    /// open.
    fn end(&self) -> i32 {
        // SAFETY: the handle is open, and nobody uses it afterwards.
        let result = unsafe { qcow2blk_image_close(self.as_ptr(), 0) };
        if result == -EDEADLK && !self.is_local {
            let image = OtherThread(self.as_ptr());
            image.run(|image| {
                // SAFETY: as above; the library has not closed it.
                unsafe { qcow2blk_image_close(image, 0) };
            });
        }
        result
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}
