//! Where completions wait to be fetched.

use std::marker::PhantomData;
use std::mem::{size_of, ManuallyDrop};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr::{null_mut, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use qcow2blk_sys::*;

use crate::error::{check, Error, Result, EDEADLK, EINTR};
use crate::image::Image;
use crate::operation::{Operation, Rejected};

/// How many completions are fetched by one call at most.
const BATCH: usize = 64;

/// A queue of completions, for requests of any number of images and threads.
///
/// Each request is given a token, which comes back with its result. The descriptor of the queue is readable while
/// completions wait.
///
/// Dropping a queue waits until all its requests have ended, and drops their completions.
///
/// It takes no requests of a [`LocalImage`](crate::LocalImage): these end inside
/// [`process`](crate::LocalImage::process), where a closure is told of them at once.
#[derive(Debug)]
pub struct Queue<T: Send + 'static> {
    handle: NonNull<qcow2blk_queue>,
    fd: RawFd,
    /// Requests that were accepted and not fetched.
    outstanding: AtomicUsize,
    entries: PhantomData<Entry<T>>,
}

// SAFETY: any thread may use the handle; tokens go from the thread that submits to the one that fetches.
unsafe impl<T: Send + 'static> Send for Queue<T> {}
// SAFETY: as above. No token is shared: each is fetched by one thread.
unsafe impl<T: Send + 'static> Sync for Queue<T> {}

/// What is kept while the library has the request.
#[derive(Debug)]
struct Entry<T> {
    operation: Operation,
    token: T,
}

/// The end of a request.
#[derive(Debug)]
pub struct Completion<T> {
    /// What the request was given.
    pub token: T,
    /// The request, with its buffers.
    pub operation: Operation,
    /// What the request of that name returns if it is waited for: bytes, or how many extents there are, or 0.
    pub result: Result<usize>,
}

impl<T: Send + 'static> Queue<T> {
    /// Makes a queue. At most `depth` requests (1 to 65536) may be in flight or wait to be fetched.
    pub fn new(depth: u32) -> Result<Self> {
        let mut handle = null_mut();
        // SAFETY: the handle goes into our variable.
        check(unsafe { qcow2blk_queue_create(&mut handle, depth, 0) }.into())?;
        let handle = NonNull::new(handle).expect("the library makes a handle or fails");
        let mut queue = Self { handle, fd: -1, outstanding: AtomicUsize::new(0), entries: PhantomData };
        // SAFETY: the handle is open.
        queue.fd = check(unsafe { qcow2blk_queue_fd(queue.as_ptr()) }.into())? as RawFd;
        Ok(queue)
    }

    /// Begins a request.
    ///
    /// Fails with `EAGAIN` if the queue or the image is full: fetch completions then.
    pub fn submit(&self, image: &Image, operation: Operation, token: T) -> std::result::Result<(), Rejected<T>> {
        let entry = Box::into_raw(Box::new(Entry { operation, token }));
        // SAFETY: it is ours until the library has accepted the request.
        let call = unsafe { (*entry).operation.call() };
        let notify = qcow2blk_notify {
            size: size_of::<qcow2blk_notify>() as u32,
            reserved: 0,
            queue: self.as_ptr(),
            callback: None,
            user_data: entry.cast(),
        };
        // Before, because another thread may fetch it at once.
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the image and the queue are open, and nobody touches the entry until it is fetched.
        let result = unsafe { call.submit(image.as_ptr(), &notify) };
        if result >= 0 {
            return Ok(());
        }
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the request was not accepted: there is no completion, and it is still ours.
        let Entry { operation, token } = *unsafe { Box::from_raw(entry) };
        Err(Rejected { error: Error::of_call(result.into()), operation, token })
    }

    /// Fetches completions: at least one and at most `max`, in the order in which the requests ended.
    ///
    /// `timeout` is how long to wait for the first: `None` indefinitely, zero not at all. If none came in time, the result
    /// is empty. It fails with `EINTR` if a signal came while it waited.
    pub fn wait(&self, max: usize, timeout: Option<Duration>) -> Result<Vec<Completion<T>>> {
        let nothing = qcow2blk_completion { user_data: null_mut(), result: 0 };
        let mut fetched = [nothing; BATCH];
        let max = max.min(BATCH) as u32;
        // SAFETY: the handle is open, and there is room for `max` completions.
        let count = unsafe { qcow2blk_queue_wait(self.as_ptr(), fetched.as_mut_ptr(), max, milliseconds(timeout), 0) };
        let count = check(count.into())? as usize;
        self.outstanding.fetch_sub(count, Ordering::Relaxed);
        Ok(fetched[..count].iter().map(Self::completion).collect())
    }

    /// Waits until all requests have ended, drops their completions, and ends the queue.
    ///
    /// Called from a closure that the library has called, it may fail with `EDEADLK`; another thread ends the queue then.
    pub fn close(self) -> Result<()> {
        ManuallyDrop::new(self).end()
    }

    /// How many requests are in flight or wait to be fetched.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    fn completion(raw: &qcow2blk_completion) -> Completion<T> {
        // SAFETY: the library gives back what it got, once, and has done with the buffers.
        let Entry { mut operation, token } = *unsafe { Box::from_raw(raw.user_data.cast::<Entry<T>>()) };
        let result = operation.complete(raw.result);
        Completion { token, operation, result }
    }

    /// A closure may have had the last reference to the queue: then this runs inside it, where nobody can wait. Another
    /// thread does it then.
    fn end(&mut self) -> Result<()> {
        let result = self.end_here();
        if result.as_ref().is_err_and(|error| error.errno() == EDEADLK) {
            let outstanding = AtomicUsize::new(*self.outstanding.get_mut());
            let rest = Self { handle: self.handle, fd: self.fd, outstanding, entries: PhantomData };
            // If there is no thread to be had, it is not dropped here again.
            let mut rest = ManuallyDrop::new(rest);
            let end = move || drop(rest.end_here());
            drop(std::thread::Builder::new().name("qcow2blk-close".to_owned()).spawn(end));
        }
        result
    }

    /// If the library fails, what is outstanding is left to it: buffers that may still be in use are never freed.
    fn end_here(&mut self) -> Result<()> {
        while *self.outstanding.get_mut() > 0 {
            match self.wait(BATCH, None) {
                Err(error) if error.errno() != EINTR => return Err(error),
                _ => {}
            }
        }
        // SAFETY: the handle is open, and nobody uses it afterwards.
        check(unsafe { qcow2blk_queue_close(self.as_ptr(), 0) }.into()).map(|_| ())
    }

    fn as_ptr(&self) -> *mut qcow2blk_queue {
        self.handle.as_ptr()
    }
}

impl<T: Send + 'static> Drop for Queue<T> {
    fn drop(&mut self) {
        // Who wants to know calls close.
        let _ = self.end();
    }
}

/// Readable while completions wait. Only look at it: do not read or write it.
impl<T: Send + 'static> AsFd for Queue<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it stays open as long as the queue.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl<T: Send + 'static> AsRawFd for Queue<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

/// Rounded up, so that a wait that is repeated until some time has passed does not become a busy loop at its end.
pub(crate) fn milliseconds(timeout: Option<Duration>) -> i32 {
    timeout.map_or(-1, |timeout| timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up_and_none_is_no_limit() {
        let cases = [
            (None, -1),
            (Some(Duration::ZERO), 0),
            (Some(Duration::from_nanos(1)), 1),
            (Some(Duration::from_millis(20)), 20),
            (Some(Duration::from_micros(20_001)), 21),
            (Some(Duration::MAX), i32::MAX),
        ];
        for (timeout, expected) in cases {
            assert_eq!(milliseconds(timeout), expected, "{timeout:?}");
        }
    }
}
