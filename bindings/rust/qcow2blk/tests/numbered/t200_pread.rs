//! Reading.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use qcow2blk::{Cursor, Image, Options};

use crate::support::{errno_of, plain, Folder, Numbers, Outcome, CLUSTER, EINVAL, KIB, MIB};

#[test]
fn every_cluster_is_read_as_it_was_written() -> Outcome {
    let folder = Folder::new();
    for name in ["plain.qcow2", "compressed.qcow2", "zstd.qcow2"] {
        let image = folder.open(name);
        let mut buffer = vec![0; 5 * MIB as usize];
        assert_eq!(image.read_at(&mut buffer, 0)?, buffer.len());
        assert!(buffer == plain(0, buffer.len()), "{name}");
    }
    Ok(())
}

#[test]
fn ranges_need_no_alignment() -> Outcome {
    let folder = Folder::new();
    for name in ["plain.qcow2", "compressed.qcow2"] {
        let image = folder.open(name);
        let mut numbers = Numbers::new(1);
        for _ in 0..300 {
            let (offset, length) = (numbers.below(5 * MIB), numbers.below(200 * KIB) as usize);
            let mut buffer = vec![9; length];
            assert_eq!(image.read_at(&mut buffer, offset)?, length);
            assert!(buffer == plain(offset, length), "{name}: {length} bytes at {offset}");
        }
    }
    Ok(())
}

#[test]
fn what_the_image_lacks_comes_from_its_backing_file() -> Outcome {
    let folder = Folder::new();
    let image = folder.open_overlay();
    let mut buffer = vec![9; 2 * MIB as usize];
    image.read_at(&mut buffer, 0)?;
    let ranges = [(0, 512, 0x11), (512, 768, 0x22), (768, 832, 0), (832, 1024, 0x11), (1024, 2048, 0)];
    for (begin, end, byte) in ranges {
        let range = begin * KIB as usize..end * KIB as usize;
        assert!(buffer[range].iter().all(|b| *b == byte), "{begin} to {end} KiB");
    }
    Ok(())
}

#[test]
fn images_of_other_formats_are_read() -> Outcome {
    let folder = Folder::new();
    let mut buffer = vec![9; MIB as usize];
    folder.open("v2.qcow2").read_at(&mut buffer, 0)?;
    assert!(buffer.iter().all(|byte| *byte == 0));
    let mut options = Options::new()?;
    options.set("format", "raw")?;
    Image::open_with(folder.copy("raw.img"), &options)?.read_at(&mut buffer, 0)?;
    assert!(buffer.iter().all(|byte| *byte == 0x5a));
    Ok(())
}

#[test]
fn last_byte_is_read_and_the_one_behind_it_is_not() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    assert_eq!(image.read_at(&mut [9], 64 * MIB - 1)?, 1);
    assert_eq!(errno_of(image.read_at(&mut [9], 64 * MIB)), EINVAL);
    assert_eq!(errno_of(image.read_at(&mut [9; 2], 64 * MIB - 1)), EINVAL);
    assert_eq!(errno_of(image.read_at(&mut [9], u64::MAX)), EINVAL);
    Ok(())
}

#[test]
fn failed_read_leaves_the_buffer_alone() {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let mut buffer = [9; 512];
    assert_eq!(errno_of(image.read_at(&mut buffer, 64 * MIB - 256)), EINVAL);
    assert_eq!(buffer, [9; 512]);
}

#[test]
fn empty_read_reads_nothing() -> Outcome {
    let folder = Folder::new();
    assert_eq!(folder.open("plain.qcow2").read_at(&mut [], 0)?, 0);
    Ok(())
}

#[test]
fn cursor_reads_to_the_end_of_the_disk() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("snapshots.qcow2");
    let mut all = vec![];
    assert_eq!(image.cursor().read_to_end(&mut all)?, MIB as usize);
    assert!(all[..CLUSTER as usize].iter().all(|byte| *byte == 0x33));
    let mut cursor = image.cursor();
    assert_eq!(cursor.seek(SeekFrom::End(-100))?, MIB - 100);
    assert_eq!(cursor.read(&mut [0; 512])?, 100);
    assert_eq!(cursor.read(&mut [0; 512])?, 0);
    assert_eq!(cursor.position(), MIB);
    Ok(())
}

#[test]
fn cursor_seeks_as_a_file_does() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let mut cursor = image.cursor();
    let mut byte = [0];
    assert_eq!(cursor.seek(SeekFrom::Start(2 * CLUSTER))?, 2 * CLUSTER);
    cursor.read_exact(&mut byte)?;
    assert_eq!(byte, [3]);
    assert_eq!(cursor.seek(SeekFrom::Current(-(CLUSTER as i64) - 1))?, CLUSTER);
    cursor.read_exact(&mut byte)?;
    assert_eq!(byte, [2]);
    cursor.seek(SeekFrom::Current(-(2 * CLUSTER as i64))).expect_err("that is before the beginning");
    assert_eq!(cursor.position(), CLUSTER + 1);
    assert_eq!(cursor.seek(SeekFrom::End(10))?, 64 * MIB + 10);
    assert_eq!(cursor.read(&mut byte)?, 0);
    Ok(())
}

#[test]
fn cursor_can_own_its_image_and_go_to_another_thread() -> Outcome {
    let folder = Folder::new();
    let image = Arc::new(folder.open("plain.qcow2"));
    let mut cursor = Cursor::new(Arc::clone(&image));
    let first = std::thread::spawn(move || {
        let mut byte = [0];
        cursor.read_exact(&mut byte).map(|()| byte[0])
    });
    assert_eq!(first.join().expect("no panic")?, 1);
    let borrowed = image.cursor();
    std::thread::scope(|scope| scope.spawn(move || borrowed.position()).join()).expect("no panic");
    Ok(())
}
