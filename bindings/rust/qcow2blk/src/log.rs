//! What the library has to say that no result tells.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use qcow2blk_sys::*;

use crate::callback::contain;
use crate::error::{check, Error, Result, EDEADLK};
use crate::text;

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is wrong, and it goes on.
    Warning,
    /// What happens.
    Info,
    /// What happens, in detail.
    Debug,
}

impl Level {
    fn number(self) -> c_int {
        match self {
            Self::Error => QCOW2BLK_LOG_ERROR,
            Self::Warning => QCOW2BLK_LOG_WARNING,
            Self::Info => QCOW2BLK_LOG_INFO,
            Self::Debug => QCOW2BLK_LOG_DEBUG,
        }
    }

    /// What is more than detail is detail too.
    fn of(number: c_int) -> Self {
        match number {
            QCOW2BLK_LOG_ERROR => Self::Error,
            QCOW2BLK_LOG_WARNING => Self::Warning,
            QCOW2BLK_LOG_INFO => Self::Info,
            _ => Self::Debug,
        }
    }
}

type Closure = Box<dyn Fn(Level, &str) + Send + Sync>;

/// Null, or what the library has been told to call.
struct Current(*mut Closure);

// SAFETY: the closure is `Send` and `Sync`.
unsafe impl Send for Current {}

static CURRENT: Mutex<Current> = Mutex::new(Current(null_mut()));

thread_local! {
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Has a closure told of lines of the log, for all images and devices of the process. It takes the place of the one
/// before.
///
/// It runs on any thread, one line at a time, and must not use the library. Lines above `level` are left out. A panic
/// ends that call of the closure and nothing else. From the closure, this fails with `EDEADLK`.
pub fn set_log(level: Level, closure: impl Fn(Level, &str) + Send + Sync + 'static) -> Result<()> {
    replace(level, Some(Box::new(closure)))
}

/// Ends [`set_log`]: when it returns, the closure is not running and will not be called again.
pub fn clear_log() -> Result<()> {
    replace(Level::Error, None)
}

fn replace(level: Level, new: Option<Closure>) -> Result<()> {
    // Before the lock, whose owner may be waiting for this very closure to end.
    if IS_RUNNING.get() {
        return Err(Error::new(EDEADLK, "the log cannot be changed by the closure that hears it"));
    }
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: without a callback there is nothing to keep.
    check(unsafe { qcow2blk_set_log(None, null_mut(), level.number(), 0) }.into())?;
    let old = std::mem::replace(&mut current.0, null_mut());
    let result = match new {
        Some(new) => install(&mut current, new, level),
        None => Ok(()),
    };
    // What the closure owns may use the log when it is dropped.
    drop(current);
    if !old.is_null() {
        // SAFETY: it came from a box, and the library has forgotten it.
        drop(unsafe { Box::from_raw(old) });
    }
    result
}

fn install(current: &mut Current, closure: Closure, level: Level) -> Result<()> {
    let closure = Box::into_raw(Box::new(closure));
    // SAFETY: the closure stays until the library has been told to forget it.
    let result = check(unsafe { qcow2blk_set_log(Some(hear), closure.cast(), level.number(), 0) }.into());
    if result.is_ok() {
        current.0 = closure;
    } else {
        // SAFETY: the library did not take it.
        drop(unsafe { Box::from_raw(closure) });
    }
    result.map(|_| ())
}

/// # Safety
/// `closure` is a `Closure` that stays until the library has been told to forget it; `message` ends with a NUL.
unsafe extern "C" fn hear(closure: *mut c_void, level: c_int, message: *const c_char) {
    // SAFETY: the library gives back what it got, and a line of text.
    let (closure, message) = unsafe { (&*closure.cast::<Closure>(), text::copied(message)) };
    let before = IS_RUNNING.replace(true);
    contain(|| closure(Level::of(level), &message));
    IS_RUNNING.set(before);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_library() {
        for level in [Level::Error, Level::Warning, Level::Info, Level::Debug] {
            assert_eq!(Level::of(level.number()), level);
        }
        assert_eq!(Level::of(QCOW2BLK_LOG_DEBUG + 1), Level::Debug);
        assert!(Level::Error < Level::Debug);
    }
}
