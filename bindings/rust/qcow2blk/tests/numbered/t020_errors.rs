//! What an error tells.

use std::error::Error as _;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

use qcow2blk::{Error, Image};
use qcow2blk_sys::{qcow2blk_last_errno, qcow2blk_last_error};

use crate::support::{errno_of, Folder, Outcome, EILSEQ, EINVAL, ENOENT};

fn missing() -> (Folder, Error) {
    let folder = Folder::new();
    let error = Image::open(folder.path("missing.qcow2")).expect_err("there is no such file");
    (folder, error)
}

#[test]
fn failed_open_tells_errno_kind_and_name() {
    let (_folder, error) = missing();
    assert_eq!(error.errno(), ENOENT);
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("missing.qcow2"), "{error}");
}

#[test]
fn text_is_one_line_without_a_full_stop() {
    let (_folder, error) = missing();
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.ends_with('.') && !text.contains("os error"), "{text}");
}

#[test]
fn error_becomes_an_io_error_and_can_be_had_back() {
    let (_folder, error) = missing();
    let io_error = io::Error::from(error.clone());
    assert_eq!(io_error.kind(), io::ErrorKind::NotFound);
    assert_eq!(io_error.to_string(), error.to_string());
    let inner = io_error.into_inner().and_then(|inner| inner.downcast::<Error>().ok());
    assert_eq!(inner.as_deref(), Some(&error));
    assert!(error.source().is_none());
}

#[test]
fn error_can_be_sent_to_another_thread() -> Outcome {
    let (_folder, error) = missing();
    let errno = std::thread::spawn(move || error.errno()).join().expect("the thread ends well");
    assert_eq!(errno, ENOENT);
    Ok(())
}

#[test]
fn each_thread_has_its_own_last_error() {
    let (_folder, _error) = missing();
    // SAFETY: they have no preconditions, and the text stays until the next call that fails.
    let last = || unsafe { (qcow2blk_last_errno(), CStr::from_ptr(qcow2blk_last_error()).to_owned()) };
    let (errno, text) = last();
    assert_eq!(errno, ENOENT);
    assert!(text.to_string_lossy().contains("missing.qcow2"));
    let (errno, text) = std::thread::spawn(last).join().expect("the thread ends well");
    assert_eq!(errno, 0);
    assert!(text.is_empty());
}

#[test]
fn success_leaves_the_last_error_as_it_was() -> Outcome {
    let (folder, _error) = missing();
    folder.open("v2.qcow2").close()?;
    // SAFETY: it has no preconditions.
    assert_eq!(unsafe { qcow2blk_last_errno() }, ENOENT);
    Ok(())
}

#[test]
fn file_name_that_the_library_cannot_take_is_refused() {
    let folder = Folder::new();
    let not_text = folder.path("").join(OsStr::from_bytes(b"\xff.qcow2"));
    assert_eq!(errno_of(Image::open(not_text)), EILSEQ);
    assert_eq!(errno_of(Image::open("a\0b")), EINVAL);
}
