//! Images that cannot be opened.

use std::fs;
use std::io::ErrorKind;

use qcow2blk::{Image, Options};

use crate::support::{errno_of, Folder, Outcome, EINVAL, ENOENT, EUCLEAN};

#[test]
fn missing_file_is_not_found() {
    let folder = Folder::new();
    assert_eq!(errno_of(Image::open(folder.path("missing.qcow2"))), ENOENT);
    assert_eq!(errno_of(Image::open(folder.path("no/such/folder.qcow2"))), ENOENT);
}

#[test]
fn file_is_not_a_folder() {
    let folder = Folder::new();
    let inside = folder.copy("v2.qcow2").join("disk.qcow2");
    let error = Image::open(inside).expect_err("a file has no files in it");
    assert_eq!(error.kind(), ErrorKind::NotADirectory, "{error}");
}

#[test]
fn folder_is_not_an_image() {
    let folder = Folder::new();
    Image::open(folder.path("")).expect_err("it is a folder");
}

#[test]
fn damaged_image_is_told_by_its_own_errno() {
    let folder = Folder::new();
    let error = Image::open(folder.copy("damaged.qcow2")).expect_err("its L1 table is not in the file");
    assert_eq!(error.errno(), EUCLEAN, "{error}");
}

#[test]
fn raw_file_is_not_taken_for_an_image() {
    let folder = Folder::new();
    let error = Image::open(folder.copy("raw.img")).expect_err("it does not begin as a qcow2 image does");
    assert!([EINVAL, EUCLEAN].contains(&error.errno()), "{error:?}");
}

#[test]
fn empty_file_is_not_an_image() -> Outcome {
    let folder = Folder::new();
    let path = folder.path("empty");
    fs::write(&path, b"")?;
    Image::open(path).expect_err("there is nothing in it");
    Ok(())
}

#[test]
fn missing_backing_file_is_named() {
    let folder = Folder::new();
    let error = Image::open(folder.copy("overlay.qcow2")).expect_err("base.qcow2 is not there");
    assert_eq!(error.errno(), ENOENT, "{error}");
    assert!(error.to_string().contains("base.qcow2"), "{error}");
}

#[test]
fn unknown_snapshot_is_named() -> Outcome {
    let folder = Folder::new();
    let mut options = Options::new()?;
    options.set("snapshot", "never-made")?;
    let error = Image::open_with(folder.copy("snapshots.qcow2"), &options).expect_err("there is no such snapshot");
    assert!(error.to_string().contains("never-made"), "{error}");
    Ok(())
}

#[test]
fn neither_file_nor_descriptors_is_refused() -> Outcome {
    let _folder = Folder::new();
    assert_eq!(errno_of(Image::open_descriptors(&Options::new()?)), EINVAL);
    Ok(())
}

#[test]
fn failed_open_leaves_the_image_free() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("overlay.qcow2");
    Image::open(&path).expect_err("base.qcow2 is not there");
    folder.copy("base.qcow2");
    Image::open(&path)?.close()?;
    Ok(())
}
