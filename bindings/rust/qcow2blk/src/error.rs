//! What went wrong.

use std::ffi::CStr;
use std::fmt;
use std::io;

use qcow2blk_sys::{qcow2blk_last_errno, qcow2blk_last_error};

pub(crate) const EINTR: i32 = 4;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const EDEADLK: i32 = 35;
pub(crate) const EILSEQ: i32 = 84;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An errno and a line of text, such as "cannot open disk.qcow2: it is locked for writing by process 4711".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    errno: i32,
    message: String,
}

impl Error {
    /// The errno: a positive number, as in `errno.h`.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// What kind of error this is to the standard library.
    pub fn kind(&self) -> io::ErrorKind {
        io::Error::from_raw_os_error(self.errno).kind()
    }

    pub(crate) fn new(errno: i32, message: impl Into<String>) -> Self {
        Self { errno, message: message.into() }
    }

    /// Of a request that ended on another thread: there is no text for it.
    pub(crate) fn of_completion(result: i64) -> Self {
        let errno = errno_of(result);
        Self::new(errno, strerror(errno))
    }

    /// Of a call that this thread has just made.
    pub(crate) fn of_call(result: i64) -> Self {
        let errno = errno_of(result);
        // SAFETY: it has no preconditions.
        if unsafe { qcow2blk_last_errno() } != errno {
            return Self::of_completion(result);
        }
        // SAFETY: the text ends with a NUL, and stays as it is until another call of this thread fails.
        let message = unsafe { CStr::from_ptr(qcow2blk_last_error()) }.to_string_lossy();
        let message = if message.is_empty() { strerror(errno) } else { message.into_owned() };
        Self::new(errno, message)
    }
}

/// Turns what a function of the library returned into a result.
pub(crate) fn check(result: i64) -> Result<u64> {
    u64::try_from(result).map_err(|_| Error::of_call(result))
}

fn errno_of(result: i64) -> i32 {
    result.checked_neg().and_then(|errno| errno.try_into().ok()).unwrap_or(EINVAL)
}

/// The text of the operating system, without the "(os error 2)" that the standard library puts behind it.
fn strerror(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.rsplit_once(" (os error ").map_or(text.as_str(), |(text, _)| text).to_owned()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The kind stays, and the error itself can be had back by `downcast`.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_below_zero_is_an_errno() {
        let error = Error::of_completion(-5);
        assert_eq!((error.errno(), error.to_string().as_str()), (5, "Input/output error"));
    }

    #[test]
    fn what_cannot_be_an_errno_is_an_error_too() {
        for result in [i64::MIN, -(1 << 40)] {
            assert_eq!(Error::of_completion(result).errno(), EINVAL);
        }
    }
}
