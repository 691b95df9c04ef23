//! Requests that a closure is told of.

use std::ffi::c_void;
use std::mem::size_of;
use std::ptr::null_mut;

use qcow2blk_sys::qcow2blk_notify;

use crate::callback::contain;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::operation::{Operation, Rejected};

/// What is kept while the library has the request.
struct Pending<F> {
    operation: Operation,
    closure: F,
}

impl Disk {
    /// The closure runs, and is dropped, on the thread of the image; of a `LocalImage`, that is the only one.
    pub(crate) fn submit<F>(&self, operation: Operation, closure: F) -> std::result::Result<(), Rejected>
    where
        F: FnOnce(Result<usize>, Operation) + 'static,
    {
        let pending = Box::into_raw(Box::new(Pending { operation, closure }));
        // SAFETY: it is ours until the library has accepted the request.
        let call = unsafe { (*pending).operation.call() };
        let notify = qcow2blk_notify {
            size: size_of::<qcow2blk_notify>() as u32,
            reserved: 0,
            queue: null_mut(),
            callback: Some(end::<F>),
            user_data: pending.cast(),
        };
        // SAFETY: the handle is open, and nobody touches what is pending until `end`.
        let result = unsafe { call.submit(self.as_ptr(), &notify) };
        if result >= 0 {
            return Ok(());
        }
        // SAFETY: the request was not accepted: there is no completion, and it is still ours.
        let pending = unsafe { Box::from_raw(pending) };
        Err(Rejected { error: Error::of_call(result.into()), operation: pending.operation, token: () })
    }
}

/// # Safety
/// `pending` is the `user_data` of a request that was accepted, and this is its only completion.
unsafe extern "C" fn end<F: FnOnce(Result<usize>, Operation)>(pending: *mut c_void, result: i64) {
    // SAFETY: the library gives back what it got, once, and has done with the buffers.
    let pending = unsafe { Box::from_raw(pending.cast::<Pending<F>>()) };
    contain(move || {
        let Pending { mut operation, closure } = *pending;
        let result = operation.complete(result);
        closure(result, operation);
    });
}
