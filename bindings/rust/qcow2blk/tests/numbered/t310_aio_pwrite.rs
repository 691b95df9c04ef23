//! Writes that nobody waits for, as futures.

use qcow2blk::{Flags, Image, Operation};

use crate::support::{assert_pattern, block_on, errno_of, qemu_img, Folder, Outcome, CLUSTER, EINVAL, EROFS, MIB};

#[test]
fn future_gives_the_buffer_back_when_it_is_written() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    let (result, buffer) = block_on(image.write_async(vec![0x42; 100_000], 777));
    assert_eq!(result?, 100_000);
    assert_eq!(buffer.len(), 100_000);
    let mut byte = [0];
    image.read_at(&mut byte, 50_000)?;
    assert_eq!(byte, [0x42]);
    image.close()?;
    assert_pattern(&path, 0x42, 777, 100_000);
    Ok(())
}

#[test]
fn many_writes_at_once_all_arrive() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    let requests: Vec<_> = (0..512).map(|i| image.write_async(vec![i as u8 | 1; 4096], i * 100_000)).collect();
    block_on(async {
        for request in requests {
            assert_eq!(request.await.0?, 4096);
        }
        qcow2blk::Result::Ok(())
    })?;
    for i in 0..512 {
        let mut buffer = [0; 4096];
        image.read_at(&mut buffer, i * 100_000)?;
        assert_eq!(buffer, [i as u8 | 1; 4096], "write {i}");
    }
    image.close()?;
    qemu_img(&["check", path.to_str().expect("it is UTF-8")]);
    Ok(())
}

/// What nobody asks for again is written anyway.
#[test]
fn dropped_future_does_not_stop_the_write() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("empty.qcow2");
    for i in 0..100 {
        drop(image.write_async(vec![0x77; 4096], i * CLUSTER));
    }
    crate::support::eventually("all requests end", || image.in_flight().is_ok_and(|count| count == 0));
    for i in 0..100 {
        let mut buffer = [0; 4096];
        image.read_at(&mut buffer, i * CLUSTER)?;
        assert_eq!(buffer, [0x77; 4096], "write {i}");
    }
    Ok(())
}

#[test]
fn write_with_fua_is_in_the_file_when_it_ends() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    let write = Operation::Write { buffer: vec![0x43; 4096], offset: 5 * CLUSTER, flags: Flags::FUA };
    assert_eq!(block_on(image.start(write)).0?, 4096);
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    assert_pattern(&copy, 0x43, 5 * CLUSTER, 4096);
    Ok(())
}

#[test]
fn refused_write_gives_the_buffer_back() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("empty.qcow2");
    let (result, buffer) = block_on(image.write_async(vec![1; 512], 64 * MIB));
    assert_eq!(errno_of(result), EINVAL);
    assert_eq!(buffer, [1; 512]);
    let write = Operation::Write { buffer: vec![1; 512], offset: 0, flags: Flags::NO_HOLE };
    assert_eq!(errno_of(block_on(image.start(write)).0), EINVAL);

    let read_only = Image::open_read_only(folder.copy("plain.qcow2"))?;
    let (result, buffer) = block_on(read_only.write_async(vec![1; 512], 0));
    assert_eq!(errno_of(result), EROFS);
    assert_eq!(buffer, [1; 512]);
    Ok(())
}
