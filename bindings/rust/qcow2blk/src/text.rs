//! Text on its way in and out.

use std::ffi::{c_char, CStr, CString};
use std::path::Path;

use crate::error::{check, Error, Result, EILSEQ, EINVAL};

pub(crate) fn from_str(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(EINVAL, format!("{text:?} has a NUL in it")))
}

/// The library takes UTF-8 only: a name that is something else would be another file's.
pub(crate) fn from_path(path: &Path) -> Result<CString> {
    match path.to_str() {
        Some(text) => from_str(text),
        None => Err(Error::new(EILSEQ, format!("{path:?} is not UTF-8; open the file and give its descriptor"))),
    }
}

/// Has the library fill in a string, with a longer buffer as long as it does not fit.
///
/// # Arguments
/// * `fill` - gets a buffer and its size, returns the length of the whole string or a negative errno
pub(crate) fn filled(mut fill: impl FnMut(*mut c_char, usize) -> isize) -> Result<String> {
    let mut buffer = vec![0_u8; 1024];
    loop {
        let length = check(fill(buffer.as_mut_ptr().cast(), buffer.len()) as i64)? as usize;
        // The NUL has to fit too.
        if length < buffer.len() {
            buffer.truncate(length);
            return Ok(String::from_utf8(buffer).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()));
        }
        buffer.resize(length + 1, 0);
    }
}

/// # Safety
/// `text` is null or a string that ends with a NUL.
pub(crate) unsafe fn copied(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller says that it is one.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
