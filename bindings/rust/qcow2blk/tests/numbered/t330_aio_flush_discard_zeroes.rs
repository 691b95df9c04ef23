//! Requests without buffers that nobody waits for.

use qcow2blk::{Flags, Image, Operation};

use crate::support::{assert_pattern, block_on, errno_of, qemu_img, Folder, Outcome, CLUSTER, EINVAL, EROFS, MIB};

#[test]
fn flush_brings_the_writes_before_it_to_the_file() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    image.write_at(&[0x66; 4096], MIB)?;
    block_on(image.flush_async())?;
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    assert_pattern(&copy, 0x66, MIB, 4096);
    Ok(())
}

#[test]
fn flushes_that_meet_all_end() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("empty.qcow2");
    let mut flushes = vec![];
    for i in 0..64 {
        image.write_at(&[1; 512], i * CLUSTER)?;
        flushes.push(image.flush_async());
    }
    block_on(async {
        for flush in flushes {
            flush.await?;
        }
        Ok(())
    })
}

#[test]
fn discard_frees_and_zeroes_fill() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    let (discard, zeroes) = (image.discard_async(0, CLUSTER), image.write_zeroes_async(CLUSTER + 100, CLUSTER));
    block_on(async {
        discard.await?;
        zeroes.await
    })?;
    assert!(image.block_status(0, CLUSTER)?.iter().all(|extent| extent.is_hole()));
    image.close()?;
    assert_pattern(&path, 0, 0, CLUSTER);
    assert_pattern(&path, 2, CLUSTER, 100);
    assert_pattern(&path, 0, CLUSTER + 100, CLUSTER);
    assert_pattern(&path, 3, 2 * CLUSTER + 100, CLUSTER - 100);
    qemu_img(&["check", path.to_str().expect("it is UTF-8")]);
    Ok(())
}

#[test]
fn flags_reach_the_library() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    let flags = Flags::FUA | Flags::NO_HOLE;
    block_on(image.start(Operation::WriteZeroes { offset: 0, length: CLUSTER, flags })).0?;
    assert!(image.block_status(0, CLUSTER)?.iter().all(|extent| !extent.is_hole()));
    block_on(image.start(Operation::Discard { offset: CLUSTER, length: CLUSTER, flags: Flags::FUA })).0?;
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    assert_pattern(&copy, 0, 0, 2 * CLUSTER);
    let wrong = Operation::Discard { offset: 0, length: CLUSTER, flags: Flags::FAST_ZERO };
    assert_eq!(errno_of(block_on(image.start(wrong)).0), EINVAL);
    Ok(())
}

#[test]
fn range_and_right_to_write_are_checked() -> Outcome {
    let folder = Folder::new();
    let image = Image::open_read_only(folder.copy("plain.qcow2"))?;
    assert_eq!(errno_of(block_on(image.discard_async(0, CLUSTER))), EROFS);
    assert_eq!(errno_of(block_on(image.write_zeroes_async(0, CLUSTER))), EROFS);
    block_on(image.flush_async())?;
    let image = folder.open("empty.qcow2");
    assert_eq!(errno_of(block_on(image.discard_async(64 * MIB, 1))), EINVAL);
    assert_eq!(errno_of(block_on(image.write_zeroes_async(u64::MAX, 1))), EINVAL);
    Ok(())
}
