//! Freeing clusters.

use qcow2blk::{Flags, Image};

use crate::support::{assert_pattern, errno_of, plain, qemu_img, Folder, Outcome, CLUSTER, EINVAL, MIB};

#[test]
fn whole_clusters_are_freed_and_read_as_zeroes() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    image.discard(2 * CLUSTER, 3 * CLUSTER)?;
    let mut buffer = vec![9; 8 * CLUSTER as usize];
    image.read_at(&mut buffer, 0)?;
    let mut expected = plain(0, buffer.len());
    expected[2 * CLUSTER as usize..5 * CLUSTER as usize].fill(0);
    assert!(buffer == expected);
    assert!(image.block_status(2 * CLUSTER, 3 * CLUSTER)?.iter().all(|extent| extent.is_hole() && extent.is_zero()));
    image.close()?;
    qemu_img(&["check", path.to_str().expect("it is UTF-8")]);
    Ok(())
}

#[test]
fn part_of_a_cluster_is_left_as_it_is() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    image.discard(512, CLUSTER - 512)?;
    image.discard(CLUSTER, CLUSTER - 1)?;
    let mut buffer = vec![9; 2 * CLUSTER as usize];
    image.read_at(&mut buffer, 0)?;
    assert!(buffer == plain(0, buffer.len()));
    Ok(())
}

#[test]
fn backing_file_does_not_shine_through() -> Outcome {
    let folder = Folder::new();
    let image = folder.open_overlay();
    image.discard(0, MIB)?;
    let mut buffer = vec![9; MIB as usize];
    image.read_at(&mut buffer, 0)?;
    assert!(buffer.iter().all(|byte| *byte == 0));
    Ok(())
}

#[test]
fn discard_with_fua_is_in_the_file_when_it_returns() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    image.discard_with(0, CLUSTER, Flags::FUA)?;
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    assert_pattern(&copy, 0, 0, CLUSTER);
    assert_pattern(&copy, 2, CLUSTER, CLUSTER);
    Ok(())
}

#[test]
fn range_and_flags_are_checked() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    assert_eq!(errno_of(image.discard(63 * MIB, MIB + 1)), EINVAL);
    assert_eq!(errno_of(image.discard(u64::MAX, 2)), EINVAL);
    assert_eq!(errno_of(image.discard_with(0, CLUSTER, Flags::NO_HOLE)), EINVAL);
    image.discard(0, 0)?;
    let mut buffer = [0];
    image.read_at(&mut buffer, 0)?;
    assert_eq!(buffer, [1]);
    Ok(())
}
