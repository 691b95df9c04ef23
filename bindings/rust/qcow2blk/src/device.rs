//! An attached image.

use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::ptr::{null_mut, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qcow2blk_sys::*;

use crate::callback::OtherThread;
use crate::error::{check, Error, Result, EDEADLK};
use crate::event::{is_running_for, Event, Listener};
use crate::options::Options;
use crate::queue::milliseconds;
use crate::text;

/// What a device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It serves requests.
    Running,
    /// Requests are held, and those in progress waited for.
    Suspending,
    /// The image file is closed and can be edited.
    Suspended,
    /// It is being detached.
    Detaching,
    /// It takes no more writes; the status tells why.
    Failed,
    /// It was detached, or its server died.
    Ended,
    /// One that this version of the crate does not know.
    Other(i32),
}

impl State {
    pub(crate) fn of(state: c_int) -> Self {
        match state {
            QCOW2BLK_STATE_RUNNING => Self::Running,
            QCOW2BLK_STATE_SUSPENDING => Self::Suspending,
            QCOW2BLK_STATE_SUSPENDED => Self::Suspended,
            QCOW2BLK_STATE_DETACHING => Self::Detaching,
            QCOW2BLK_STATE_FAILED => Self::Failed,
            QCOW2BLK_STATE_ENDED => Self::Ended,
            other => Self::Other(other),
        }
    }
}

/// An attached image: a block device or an NBD server. Any number of threads can use it at once.
///
/// Timeouts are how long requests in progress may take; `None` is 30 seconds.
///
/// Dropping it lets go of the device, as [`close`](Self::close) does, but tells nobody of errors.
pub struct Device {
    handle: NonNull<qcow2blk_device>,
    /// Null, or what the library has been told to call.
    listener: Mutex<*mut Listener>,
}

// SAFETY: any thread may call any function of the library with a device; a listener is `Send`.
unsafe impl Send for Device {}
// SAFETY: as above; the listener is behind a lock.
unsafe impl Sync for Device {}

impl Device {
    /// Opens an image and serves it as a block device or over NBD. The options are those of `qcow2blk attach`: `socket`
    /// or `listen` for NBD, which threads of this process serve; otherwise it is a block device, which gets a process
    /// of its own and outlives this one.
    pub fn attach(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let path = text::from_path(path.as_ref())?;
        // SAFETY: the path ends with a NUL, the options are open.
        Self::new(|handle| unsafe { qcow2blk_device_attach(path.as_ptr(), options.as_ptr(), handle, 0) })
    }

    /// Finds a device that is attached already, by its name, node, image or URI.
    pub fn open(target: &str) -> Result<Self> {
        let target = text::from_str(target)?;
        // SAFETY: the target ends with a NUL.
        Self::new(|handle| unsafe { qcow2blk_device_open(target.as_ptr(), handle, 0) })
    }

    fn new(make: impl FnOnce(*mut *mut qcow2blk_device) -> c_int) -> Result<Self> {
        let mut handle = null_mut();
        check(make(&mut handle).into())?;
        let handle = NonNull::new(handle).expect("the library makes a handle or fails");
        Ok(Self { handle, listener: Mutex::new(null_mut()) })
    }

    /// The name of the device.
    pub fn name(&self) -> Result<String> {
        self.text(qcow2blk_device_name)
    }

    /// The NBD URI that clients connect to; `None` for a block device.
    pub fn uri(&self) -> Result<Option<String>> {
        Ok(Some(self.text(qcow2blk_device_uri)?).filter(|uri| !uri.is_empty()))
    }

    /// The node of the block device, such as `/dev/ublkb0`; `None` for an NBD server.
    pub fn path(&self) -> Result<Option<PathBuf>> {
        Ok(Some(self.text(qcow2blk_device_path)?).filter(|path| !path.is_empty()).map(PathBuf::from))
    }

    /// What the device is doing.
    pub fn state(&self) -> Result<State> {
        // SAFETY: the handle is open.
        let state = unsafe { qcow2blk_device_state(self.as_ptr(), 0) };
        check(state.into())?;
        Ok(State::of(state))
    }

    /// What `qcow2blk status --json` says of the device.
    pub fn status(&self) -> Result<String> {
        // SAFETY: the handle is open, and the buffer is as long as it says.
        text::filled(|buffer, size| unsafe { qcow2blk_device_status(self.as_ptr(), buffer, size, 0) })
    }

    /// Holds all requests and leaves a closed, consistent image file, which qemu-img and other programs can change. A
    /// device that is suspended stays so. If it fails, the device goes on.
    pub fn suspend(&self, timeout: Option<Duration>) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_device_suspend(self.as_ptr(), milliseconds(timeout), 0) }.into()).map(|_| ())
    }

    /// Opens the image again, as it is now, and continues the requests. If it fails, the device stays suspended.
    pub fn resume(&self, timeout: Option<Duration>) -> Result<()> {
        self.resume_with(timeout, 0)
    }

    /// As [`resume`](Self::resume), also if the disk has become smaller.
    pub fn resume_shrunk(&self, timeout: Option<Duration>) -> Result<()> {
        self.resume_with(timeout, QCOW2BLK_ALLOW_SHRINK)
    }

    fn resume_with(&self, timeout: Option<Duration>, flags: u32) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_device_resume(self.as_ptr(), milliseconds(timeout), flags) }.into()).map(|_| ())
    }

    /// Writes everything out and ends the device. If it fails, the device goes on.
    pub fn detach(&self, timeout: Option<Duration>) -> Result<()> {
        self.detach_with(timeout, 0)
    }

    /// As [`detach`](Self::detach), but takes the device from its users, and loses what cannot be written.
    pub fn detach_by_force(&self, timeout: Option<Duration>) -> Result<()> {
        self.detach_with(timeout, QCOW2BLK_FORCE)
    }

    fn detach_with(&self, timeout: Option<Duration>, flags: u32) -> Result<()> {
        // SAFETY: the handle is open.
        check(unsafe { qcow2blk_device_detach(self.as_ptr(), milliseconds(timeout), flags) }.into()).map(|_| ())
    }

    /// Has a closure told of what happens to the device. The first event tells the state now.
    ///
    /// It runs on a thread of the library, one event at a time, and takes the place of the one before. A panic ends
    /// that call of the closure and nothing else. From the closure, this fails with `EDEADLK`.
    pub fn set_events(&self, closure: impl FnMut(Event) + Send + 'static) -> Result<()> {
        let listener = Listener::new(self.as_ptr(), closure);
        self.replace_listener(Some(listener))
    }

    /// Ends [`set_events`](Self::set_events): when it returns, the closure is not running and will not be called again.
    pub fn clear_events(&self) -> Result<()> {
        self.replace_listener(None)
    }

    fn replace_listener(&self, new: Option<Box<Listener>>) -> Result<()> {
        // Before the lock, whose owner may be waiting for this very closure to end.
        if is_running_for(self.as_ptr()) {
            return Err(Error::new(EDEADLK, "the events of a device cannot be changed by the closure that hears them"));
        }
        let mut current = self.listener();
        check(set_callback(self.as_ptr(), null_mut()).into())?;
        let old = std::mem::replace(&mut *current, null_mut());
        let result = match new {
            Some(new) => self.install(&mut current, new),
            None => Ok(()),
        };
        // What the closure owns may use this device when it is dropped.
        drop(current);
        // SAFETY: the library has forgotten it.
        unsafe { drop_listener(old) };
        result
    }

    fn install(&self, current: &mut *mut Listener, listener: Box<Listener>) -> Result<()> {
        let listener = Box::into_raw(listener);
        let result = check(set_callback(self.as_ptr(), listener).into());
        if result.is_ok() {
            *current = listener;
        } else {
            // SAFETY: the library did not take it.
            drop(unsafe { Box::from_raw(listener) });
        }
        result.map(|_| ())
    }

    /// Lets go of the device. What this process serves is detached first, by force if it does not end within 20
    /// seconds. A device that has a process of its own goes on.
    ///
    /// The device is gone whatever the result: an error says that data may be lost.
    pub fn close(self) -> Result<()> {
        check(ManuallyDrop::new(self).end().into()).map(|_| ())
    }

    /// A closure may have had the last reference to the device: then this runs inside it, where nobody can wait for
    /// anything to end. Another thread does it then.
    fn end(&mut self) -> c_int {
        let listener = std::mem::replace(&mut *self.listener(), null_mut());
        let result = if is_running_for(self.as_ptr()) { -EDEADLK } else { close(self.as_ptr(), listener) };
        if result == -EDEADLK {
            let listener = OtherThread(listener);
            OtherThread(self.as_ptr()).run(move |device| {
                close(device, listener.into_inner());
            });
        }
        result
    }

    fn text(&self, get: unsafe extern "C" fn(*mut qcow2blk_device, *mut c_char, usize) -> isize) -> Result<String> {
        // SAFETY: the handle is open, and the buffer is as long as it says.
        text::filled(|buffer, size| unsafe { get(self.as_ptr(), buffer, size) })
    }

    fn listener(&self) -> MutexGuard<'_, *mut Listener> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn as_ptr(&self) -> *mut qcow2blk_device {
        self.handle.as_ptr()
    }
}

/// Has the library call a listener, or none.
fn set_callback(device: *mut qcow2blk_device, listener: *mut Listener) -> c_int {
    let callback: Option<qcow2blk_event_fn> = if listener.is_null() { None } else { Some(Listener::callback) };
    // SAFETY: the handle is open; the listener stays until the library has been told to forget it.
    unsafe { qcow2blk_device_set_event_callback(device, callback, listener.cast::<c_void>(), 0) }
}

/// Ends a device and its listener, or neither with -EDEADLK. A listener that the library would not forget is left to it.
fn close(device: *mut qcow2blk_device, listener: *mut Listener) -> c_int {
    let forgotten = if listener.is_null() { 0 } else { set_callback(device, null_mut()) };
    if forgotten == -EDEADLK {
        return -EDEADLK;
    }
    // SAFETY: the handle is open, and nobody uses it afterwards, unless it is still open.
    let result = unsafe { qcow2blk_device_close(device, 0) };
    if forgotten >= 0 && result != -EDEADLK {
        // SAFETY: the library has forgotten it.
        unsafe { drop_listener(listener) };
    }
    result
}

/// # Safety
/// It is null, or came from a box, and nobody uses it any more.
unsafe fn drop_listener(listener: *mut Listener) {
    if !listener.is_null() {
        // SAFETY: the caller says so.
        drop(unsafe { Box::from_raw(listener) });
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("handle", &self.handle).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_name() {
        let states = [
            (QCOW2BLK_STATE_RUNNING, State::Running),
            (QCOW2BLK_STATE_SUSPENDING, State::Suspending),
            (QCOW2BLK_STATE_SUSPENDED, State::Suspended),
            (QCOW2BLK_STATE_DETACHING, State::Detaching),
            (QCOW2BLK_STATE_FAILED, State::Failed),
            (QCOW2BLK_STATE_ENDED, State::Ended),
            (77, State::Other(77)),
        ];
        for (number, expected) in states {
            assert_eq!(State::of(number), expected);
        }
    }
}
