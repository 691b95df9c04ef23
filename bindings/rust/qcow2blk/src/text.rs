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

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills in as the library does.
    fn fill(text: &str, buffer: *mut c_char, size: usize) -> isize {
        let count = text.len().min(size - 1);
        // SAFETY: there is room for `size` bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr().cast(), buffer, count);
            *buffer.add(count) = 0;
        }
        text.len() as isize
    }

    #[test]
    fn texts_of_any_length_are_whole() {
        for length in [0, 1, 1022, 1023, 1024, 1025, 100_000] {
            let text = "x".repeat(length);
            assert_eq!(filled(|buffer, size| fill(&text, buffer, size)), Ok(text.clone()));
        }
    }

    #[test]
    fn text_that_grows_meanwhile_is_asked_for_again() {
        let mut lengths = [2000, 3000, 3500, 3500].into_iter();
        let text = filled(|buffer, size| fill(&"x".repeat(lengths.next().expect("it is whole now")), buffer, size));
        assert_eq!(text, Ok("x".repeat(3500)));
    }

    #[test]
    fn what_is_not_utf_8_is_shown_as_well_as_can_be() {
        // SAFETY: the text ends with a NUL.
        assert_eq!(unsafe { copied(c"a\xffb".as_ptr()) }, "a\u{fffd}b");
        // SAFETY: null is allowed.
        assert_eq!(unsafe { copied(std::ptr::null()) }, "");
    }
}
