//! Closures that the library calls. None of them unwinds into it.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

/// Runs what must not unwind. Somebody has already been told of the panic: its message was printed.
pub(crate) fn contain(closure: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(closure)) {
        // Dropping it could panic again.
        std::mem::forget(payload);
    }
}

/// A closure that is called for each thing of a list, on the thread that asked, until it says true.
pub(crate) struct Walk<T, F> {
    closure: F,
    panic: Option<Box<dyn Any + Send>>,
    _thing: std::marker::PhantomData<fn(&T)>,
}

impl<T, F: FnMut(&T) -> bool> Walk<T, F> {
    pub(crate) fn new(closure: F) -> Self {
        Self { closure, panic: None, _thing: std::marker::PhantomData }
    }

    pub(crate) fn callback(&self) -> unsafe extern "C" fn(*mut c_void, *const T) -> c_int {
        Self::step
    }

    pub(crate) fn user_data(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast()
    }

    /// Continues the panic of the closure, if there was one.
    pub(crate) fn end(self) {
        if let Some(payload) = self.panic {
            resume_unwind(payload);
        }
    }

    /// # Safety
    /// `walk` is a `user_data` of this type, and `thing` is valid.
    unsafe extern "C" fn step(walk: *mut c_void, thing: *const T) -> c_int {
        // SAFETY: the library gives back what it got, inside the call that it got it with.
        let (walk, thing) = unsafe { (&mut *walk.cast::<Self>(), &*thing) };
        match catch_unwind(AssertUnwindSafe(|| (walk.closure)(thing))) {
            Ok(is_over) => is_over.into(),
            Err(payload) => {
                walk.panic = Some(payload);
                1
            }
        }
    }
}

/// A handle, or a closure that the library calls, which is given to another thread because this one must not wait.
pub(crate) struct OtherThread<T>(pub(crate) *mut T);

// SAFETY: any thread may use the handles of the library, and the closures are `Send`.
unsafe impl<T> Send for OtherThread<T> {}

impl<T: 'static> OtherThread<T> {
    /// By a method, so that a closure takes all of it and not the pointer alone.
    pub(crate) fn into_inner(self) -> *mut T {
        self.0
    }

    /// If there is no thread to be had, the handle stays open: that is all that is left.
    pub(crate) fn run(self, closure: impl FnOnce(*mut T) + Send + 'static) {
        let run = move || closure(self.into_inner());
        drop(std::thread::Builder::new().name("qcow2blk-close".to_owned()).spawn(run));
    }
}
