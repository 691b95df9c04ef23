//! Opening and closing.

use std::io::ErrorKind;

use qcow2blk::{Image, Options};

use crate::support::{assert_pattern, errno_of, Folder, Outcome, EBUSY, EROFS};

#[test]
fn image_can_be_opened_closed_and_opened_again() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    for _ in 0..3 {
        let image = Image::open(&path)?;
        assert!(!image.is_read_only()?);
        image.close()?;
    }
    Ok(())
}

#[test]
fn dropping_an_image_writes_it_down_and_closes_it() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    {
        let image = Image::open(&path)?;
        image.write_at(&[0x77; 4096], 8192)?;
    }
    assert_pattern(&path, 0x77, 8192, 4096);
    Image::open(&path)?.close()?;
    Ok(())
}

#[test]
fn image_that_is_open_for_writing_is_locked() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    let error = Image::open(&path).expect_err("it is open");
    assert_eq!(error.errno(), EBUSY, "{error}");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    assert_eq!(errno_of(Image::open_read_only(&path)), EBUSY);
    image.close()?;
    Image::open(&path)?.close()?;
    Ok(())
}

#[test]
fn readers_share_an_image_and_keep_writers_out() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let first = Image::open_read_only(&path)?;
    let second = Image::open_read_only(&path)?;
    assert!(first.is_read_only()? && second.is_read_only()?);
    assert_eq!(errno_of(Image::open(&path)), EBUSY);
    Ok(())
}

#[test]
fn read_only_image_refuses_all_changes() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open_read_only(&path)?;
    assert_eq!(errno_of(image.write_at(&[0; 512], 0)), EROFS);
    assert_eq!(errno_of(image.discard(0, 65536)), EROFS);
    assert_eq!(errno_of(image.write_zeroes(0, 65536)), EROFS);
    image.flush()?;
    Ok(())
}

#[test]
fn option_read_only_does_what_open_read_only_does() -> Outcome {
    let folder = Folder::new();
    let mut options = Options::new()?;
    options.set("read-only", "true")?;
    let image = Image::open_with(folder.copy("plain.qcow2"), &options)?;
    assert!(image.is_read_only()?);
    assert_eq!(errno_of(image.write_at(&[0; 512], 0)), EROFS);
    Ok(())
}

#[test]
fn many_images_can_be_open_at_once() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let images = (0..20).map(|_| Image::open_read_only(&path)).collect::<qcow2blk::Result<Vec<_>>>()?;
    for image in &images {
        let mut byte = [0];
        image.read_at(&mut byte, 65536)?;
        assert_eq!(byte, [2]);
    }
    Ok(())
}
