//! Several buffers in one request.

use std::io::{IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};

use qcow2blk::{Flags, Image};

use crate::support::{assert_pattern, errno_of, plain, Folder, Outcome, CLUSTER, EINVAL, MIB};

#[test]
fn buffers_are_filled_one_after_the_other() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let (mut a, mut b, mut c) = ([9; 1000], [9; 0], vec![9; 150_000]);
    let mut buffers = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b), IoSliceMut::new(&mut c)];
    assert_eq!(image.read_vectored_at(&mut buffers, CLUSTER - 500)?, 151_000);
    assert!(a[..] == plain(CLUSTER - 500, 1000));
    assert!(c == plain(CLUSTER + 500, 150_000));
    Ok(())
}

#[test]
fn buffers_are_written_one_after_the_other() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    let (a, b) = ([0x0a; 777], vec![0x0b; 100_000]);
    let buffers = [IoSlice::new(&a), IoSlice::new(&[]), IoSlice::new(&b)];
    assert_eq!(image.write_vectored_at(&buffers, 333)?, 100_777);
    image.close()?;
    assert_pattern(&path, 0x0a, 333, 777);
    assert_pattern(&path, 0x0b, 1110, 100_000);
    Ok(())
}

#[test]
fn vectored_write_with_fua_is_in_the_file_when_it_returns() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    image.write_vectored_at_with(&[IoSlice::new(&[0x0c; 512]), IoSlice::new(&[0x0c; 512])], 0, Flags::FUA)?;
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    assert_pattern(&copy, 0x0c, 0, 1024);
    Ok(())
}

#[test]
fn as_many_buffers_as_allowed_and_no_more() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let mut bytes = vec![9; 1025];
    let mut buffers: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
    assert_eq!(errno_of(image.read_vectored_at(&mut buffers, CLUSTER)), EINVAL);
    assert_eq!(image.read_vectored_at(&mut buffers[..1024], CLUSTER)?, 1024);
    assert!(bytes[..1024].iter().all(|byte| *byte == 2));
    assert_eq!(bytes[1024], 9);
    let buffers: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
    assert_eq!(errno_of(image.write_vectored_at(&buffers, 0)), EINVAL);
    assert_eq!(image.write_vectored_at(&buffers[..1024], 0)?, 1024);
    Ok(())
}

#[test]
fn no_buffers_are_an_empty_request() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    assert_eq!(image.read_vectored_at(&mut [], 0)?, 0);
    assert_eq!(image.write_vectored_at(&[], 0)?, 0);
    Ok(())
}

#[test]
fn sum_of_the_buffers_has_to_be_on_the_disk() {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let (mut a, mut b) = ([9; 512], [9; 512]);
    let mut buffers = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    assert_eq!(errno_of(image.read_vectored_at(&mut buffers, 64 * MIB - 1023)), EINVAL);
}

#[test]
fn cursor_uses_one_request_for_several_buffers() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("v2.qcow2");
    let mut cursor = image.cursor();
    assert_eq!(cursor.write_vectored(&[IoSlice::new(&[1; 10]), IoSlice::new(&[2; 10])])?, 20);
    cursor.seek(SeekFrom::Start(5))?;
    let (mut a, mut b) = ([0; 5], [0; 10]);
    assert_eq!(cursor.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)])?, 15);
    assert_eq!((a, b), ([1; 5], [2; 10]));

    cursor.seek(SeekFrom::End(-12))?;
    assert_eq!(cursor.write_vectored(&[IoSlice::new(&[]), IoSlice::new(&[3; 10]), IoSlice::new(&[4; 10])])?, 10);
    assert_eq!(cursor.write_vectored(&[IoSlice::new(&[4; 10])])?, 2);
    assert_eq!(cursor.write_vectored(&[IoSlice::new(&[4; 10])])?, 0);
    Ok(())
}
