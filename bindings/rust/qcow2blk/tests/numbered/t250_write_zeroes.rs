//! Zeroes without a buffer.

use qcow2blk::{Flags, Image};

use crate::support::{assert_pattern, errno_of, plain, qemu_img, Folder, Outcome, CLUSTER, EINVAL, EOPNOTSUPP, MIB};

#[test]
fn range_reads_as_zeroes_and_its_neighbours_stay() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    image.write_zeroes(1000, 3 * CLUSTER)?;
    let mut buffer = vec![9; 5 * CLUSTER as usize];
    image.read_at(&mut buffer, 0)?;
    let mut expected = plain(0, buffer.len());
    expected[1000..1000 + 3 * CLUSTER as usize].fill(0);
    assert!(buffer == expected);
    image.close()?;
    assert_pattern(&path, 0, 1000, 3 * CLUSTER);
    qemu_img(&["check", path.to_str().expect("it is UTF-8")]);
    Ok(())
}

#[test]
fn backing_file_does_not_shine_through() -> Outcome {
    let folder = Folder::new();
    let image = folder.open_overlay();
    image.write_zeroes(100, 1000)?;
    let mut buffer = [9; 1200];
    image.read_at(&mut buffer, 0)?;
    assert!(buffer[100..1100].iter().all(|byte| *byte == 0));
    assert!(buffer[..100].iter().chain(&buffer[1100..]).all(|byte| *byte == 0x11));
    Ok(())
}

#[test]
fn no_hole_keeps_the_space() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    image.write_zeroes_with(0, CLUSTER, Flags::NO_HOLE)?;
    image.write_zeroes(CLUSTER, CLUSTER)?;
    let kept = image.block_status(0, CLUSTER)?;
    assert!(kept.iter().all(|extent| !extent.is_hole()), "{kept:?}");
    let freed = image.block_status(CLUSTER, CLUSTER)?;
    assert!(freed.iter().all(|extent| extent.is_hole() && extent.is_zero()), "{freed:?}");
    let mut buffer = vec![9; 2 * CLUSTER as usize];
    image.read_at(&mut buffer, 0)?;
    assert!(buffer.iter().all(|byte| *byte == 0));
    Ok(())
}

#[test]
fn zeroes_with_fua_are_in_the_file_when_it_returns() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    image.write_zeroes_with(0, 2 * CLUSTER, Flags::FUA)?;
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    assert_pattern(&copy, 0, 0, 2 * CLUSTER);
    Ok(())
}

#[test]
fn fast_zero_is_fast_or_changes_nothing() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    image.write_zeroes_with(0, CLUSTER, Flags::FAST_ZERO)?;
    let mut cluster = vec![9; CLUSTER as usize];
    image.read_at(&mut cluster, 0)?;
    assert!(cluster.iter().all(|byte| *byte == 0));

    // Part of a cluster: that is a write.
    let result = image.write_zeroes_with(CLUSTER + 512, 1024, Flags::FAST_ZERO);
    image.read_at(&mut cluster, CLUSTER)?;
    match result {
        Ok(()) => assert!(cluster[512..1536].iter().all(|byte| *byte == 0)),
        Err(error) => {
            assert_eq!(error.errno(), EOPNOTSUPP);
            assert!(cluster == plain(CLUSTER, cluster.len()));
        }
    }
    Ok(())
}

#[test]
fn range_is_checked() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    assert_eq!(errno_of(image.write_zeroes(63 * MIB, MIB + 1)), EINVAL);
    assert_eq!(errno_of(image.write_zeroes(u64::MAX, 2)), EINVAL);
    image.write_zeroes(0, 0)?;
    let mut buffer = [0];
    image.read_at(&mut buffer, 0)?;
    assert_eq!(buffer, [1]);
    Ok(())
}
