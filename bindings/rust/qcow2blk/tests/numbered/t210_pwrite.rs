//! Writing.

use std::io::{Seek, SeekFrom, Write};

use qcow2blk::{Flags, Image};

use crate::support::{assert_pattern, errno_of, qemu_img, Folder, Numbers, Outcome, CLUSTER, EINVAL, EROFS, KIB, MIB};

#[test]
fn what_was_written_is_read_and_is_there_after_the_close() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    assert_eq!(image.write_at(&[0xab; 100_000], 12_345)?, 100_000);
    let mut buffer = vec![0; 100_002];
    image.read_at(&mut buffer, 12_344)?;
    assert_eq!((buffer[0], buffer[100_001]), (0, 0));
    assert!(buffer[1..100_001].iter().all(|byte| *byte == 0xab));
    image.close()?;
    assert_pattern(&path, 0xab, 12_345, 100_000);
    assert_pattern(&path, 0, 0, 12_345);
    qemu_img(&["check", path.to_str().expect("it is UTF-8")]);
    Ok(())
}

#[test]
fn writes_are_those_of_a_model() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    let mut model = crate::support::plain(0, 6 * MIB as usize);
    let mut numbers = Numbers::new(2);
    for round in 0..200 {
        let offset = numbers.below(5 * MIB) as usize;
        let data = vec![round as u8; numbers.below(100 * KIB) as usize];
        assert_eq!(image.write_at(&data, offset as u64)?, data.len());
        model[offset..offset + data.len()].copy_from_slice(&data);
    }
    image.close()?;
    let mut buffer = vec![0; model.len()];
    Image::open(&path)?.read_at(&mut buffer, 0)?;
    assert!(buffer == model);
    qemu_img(&["check", path.to_str().expect("it is UTF-8")]);
    Ok(())
}

/// A copy of the file, made while it is open, is what a loss of power would leave.
#[test]
fn write_with_fua_is_in_the_file_when_it_returns() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    image.write_at_with(&[0xcd; 4096], 3 * CLUSTER, Flags::FUA)?;
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    assert_pattern(&copy, 0xcd, 3 * CLUSTER, 4096);
    Ok(())
}

#[test]
fn backing_file_is_never_written() -> Outcome {
    let folder = Folder::new();
    let image = folder.open_overlay();
    let before = std::fs::read(folder.path("base.qcow2"))?;
    image.write_at(&[0x44; 512], 100)?;
    let mut buffer = [0; 1024];
    image.read_at(&mut buffer, 0)?;
    assert!(buffer[..100].iter().chain(&buffer[612..]).all(|byte| *byte == 0x11));
    assert!(buffer[100..612].iter().all(|byte| *byte == 0x44));
    image.close()?;
    assert!(std::fs::read(folder.path("base.qcow2"))? == before);
    Ok(())
}

#[test]
fn range_that_is_not_on_the_disk_is_refused() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("empty.qcow2");
    assert_eq!(errno_of(image.write_at(&[1; 2], 64 * MIB - 1)), EINVAL);
    assert_eq!(errno_of(image.write_at(&[1], u64::MAX)), EINVAL);
    let mut last = [9];
    image.read_at(&mut last, 64 * MIB - 1)?;
    assert_eq!(last, [0]);
    assert_eq!(image.write_at(&[1], 64 * MIB - 1)?, 1);
    assert_eq!(image.write_at(&[], 0)?, 0);
    Ok(())
}

#[test]
fn flag_of_another_request_is_refused() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("empty.qcow2");
    assert_eq!(errno_of(image.write_at_with(&[1; 512], 0, Flags::NO_HOLE)), EINVAL);
    assert_eq!(errno_of(image.write_at_with(&[1; 512], 0, Flags::FUA | Flags::FAST_ZERO)), EINVAL);
    let mut buffer = [9; 512];
    image.read_at(&mut buffer, 0)?;
    assert_eq!(buffer, [0; 512]);
    Ok(())
}

#[test]
fn cursor_writes_as_a_file_does() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("v2.qcow2");
    let image = Image::open(&path)?;
    let mut cursor = image.cursor();
    cursor.seek(SeekFrom::Start(1000))?;
    cursor.write_all(&[0x61; 3000])?;
    cursor.flush()?;
    assert_eq!(cursor.position(), 4000);
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    assert_pattern(&copy, 0x61, 1000, 3000);

    cursor.seek(SeekFrom::End(-10))?;
    assert_eq!(cursor.write(&[1; 20])?, 10);
    assert_eq!(cursor.write(&[1; 20])?, 0);
    let error = cursor.write_all(&[1]).expect_err("the disk has ended");
    assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
    Ok(())
}

#[test]
fn cursor_tells_what_kind_of_error_it_was() {
    let folder = Folder::new();
    let image = Image::open_read_only(folder.copy("plain.qcow2")).expect("it can be opened");
    let error = image.cursor().write(&[1; 512]).expect_err("it is read-only");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let inner = error.downcast::<qcow2blk::Error>().expect("it is ours");
    assert_eq!(inner.errno(), EROFS);
}
