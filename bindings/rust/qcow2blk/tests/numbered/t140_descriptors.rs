//! Images that others have opened for us.

use std::fs::{remove_file, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::Path;

use qcow2blk::{Image, Options};

use crate::support::{assert_pattern, errno_of, Folder, Outcome, EROFS};

fn for_writing(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

#[test]
fn image_is_opened_by_its_descriptor() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let mut options = Options::new()?;
    options.add_fd(for_writing(&path)?)?;
    let image = Image::open_descriptors(&options)?;
    let mut byte = [0];
    image.read_at(&mut byte, 65536)?;
    assert_eq!(byte, [2]);
    image.write_at(&[0x99; 512], 0)?;
    image.close()?;
    assert_pattern(&path, 0x99, 0, 512);
    Ok(())
}

#[test]
fn owned_and_borrowed_descriptors_stay_with_their_owner() -> Outcome {
    let folder = Folder::new();
    let file = for_writing(&folder.copy("plain.qcow2"))?;
    let mut options = Options::new()?;
    options.add_fd(&file)?;
    Image::open_descriptors(&options)?.close()?;
    assert!(file.metadata()?.len() > 0);
    drop(options);

    let owned = OwnedFd::from(file);
    let mut options = Options::new()?;
    options.add_fd(&owned)?;
    Image::open_descriptors(&options)?.close()?;
    assert!(File::from(owned).metadata()?.len() > 0);
    Ok(())
}

#[test]
fn chain_needs_no_names() -> Outcome {
    let folder = Folder::new();
    let (overlay, base) = (folder.copy("overlay.qcow2"), folder.copy("base.qcow2"));
    let mut options = Options::new()?;
    options.add_fd(for_writing(&overlay)?)?.add_fd(File::open(&base)?)?;
    remove_file(overlay)?;
    remove_file(base)?;
    let image = Image::open_descriptors(&options)?;
    for (offset, byte) in [(0, 0x11), (512 << 10, 0x22), (768 << 10, 0), (900 << 10, 0x11), (2 << 20, 0)] {
        let mut buffer = [9; 512];
        image.read_at(&mut buffer, offset)?;
        assert_eq!(buffer, [byte; 512], "at {offset}");
    }
    Ok(())
}

#[test]
fn no_file_is_opened_by_name_if_there_are_descriptors() -> Outcome {
    let folder = Folder::new();
    folder.copy("base.qcow2");
    let mut options = Options::new()?;
    options.add_fd(for_writing(&folder.copy("overlay.qcow2"))?)?;
    Image::open_descriptors(&options).expect_err("the descriptor of the backing file is missing");
    Ok(())
}

#[test]
fn image_to_be_written_needs_a_descriptor_for_writing() -> Outcome {
    let folder = Folder::new();
    let mut options = Options::new()?;
    options.add_fd(File::open(folder.copy("plain.qcow2"))?)?;
    Image::open_descriptors(&options).expect_err("it is open for reading only");
    options.set("read-only", "true")?;
    let image = Image::open_descriptors(&options)?;
    assert_eq!(errno_of(image.write_at(&[0; 512], 0)), EROFS);
    Ok(())
}
