//! What a range of the disk holds.

use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};

use qcow2blk::Extent;

use crate::support::{errno_of, plain, Folder, Outcome, CLUSTER, EINVAL, KIB, MIB};

/// Extents that are alike, joined: where they end, and what they are.
pub fn joined(extents: &[Extent]) -> Vec<(u64, bool, bool, u32)> {
    let mut joined: Vec<(u64, bool, bool, u32)> = vec![];
    for extent in extents {
        let end = extent.offset() + extent.length();
        let now = (end, extent.is_hole(), extent.is_zero(), extent.depth());
        match joined.last_mut() {
            Some(last) if (last.1, last.2, last.3) == (now.1, now.2, now.3) => last.0 = end,
            _ => joined.push(now),
        }
    }
    joined
}

fn assert_covers(extents: &[Extent], offset: u64, length: u64) {
    let mut at = offset;
    for extent in extents {
        assert_eq!(extent.offset(), at, "{extents:?}");
        assert!(extent.length() > 0);
        at += extent.length();
    }
    assert_eq!(at, offset + length);
}

#[test]
fn data_and_nothing_are_told_apart() -> Outcome {
    let folder = Folder::new();
    let extents = folder.open("plain.qcow2").block_status(0, 64 * MIB)?;
    assert_covers(&extents, 0, 64 * MIB);
    assert_eq!(joined(&extents), [(4 * MIB, false, false, 1), (64 * MIB, true, true, 0)]);
    Ok(())
}

#[test]
fn depth_tells_which_image_of_the_chain_has_it() -> Outcome {
    let folder = Folder::new();
    let extents = folder.open_overlay().block_status(0, 16 * MIB)?;
    assert_covers(&extents, 0, 16 * MIB);
    let found: Vec<_> = joined(&extents).iter().map(|e| (e.0 / KIB, e.2, e.3)).collect();
    let expected = [(512, false, 2), (768, false, 1), (832, true, 1), (1024, false, 2), (16384, true, 0)];
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn extents_are_cut_to_the_range() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    assert_covers(&image.block_status(12_345, 4321)?, 12_345, 4321);
    assert_covers(&image.block_status(4 * MIB - 1, 2)?, 4 * MIB - 1, 2);
    assert_eq!(joined(&image.block_status(4 * MIB - 1, 2)?).len(), 2);
    Ok(())
}

#[test]
fn closure_can_end_the_walk() -> Outcome {
    let folder = Folder::new();
    let image = folder.open_overlay();
    let mut calls = 0;
    let first_zero = image.for_each_extent(0, 16 * MIB, |extent| {
        calls += 1;
        if extent.is_zero() {
            ControlFlow::Break(extent.offset())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    assert_eq!(first_zero, ControlFlow::Break(768 * KIB));
    assert!((3..=24).contains(&calls), "{calls}");
    assert_eq!(image.for_each_extent(0, MIB, |_| ControlFlow::<()>::Continue(()))?, ControlFlow::Continue(()));
    Ok(())
}

#[test]
fn panic_of_the_closure_reaches_its_owner() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        image.for_each_extent(0, MIB, |_| -> ControlFlow<()> { panic!("this panic is part of the test") })
    }));
    let payload = panicked.expect_err("the panic goes on");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"this panic is part of the test"));
    assert_covers(&image.block_status(0, MIB)?, 0, MIB);
    Ok(())
}

/// It runs on the thread of the caller: nobody would wait for itself. A differential copy reads there.
#[test]
fn image_can_be_used_by_the_closure() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    let mut read = vec![];
    let walk = image.for_each_extent(0, 6 * MIB, |extent| {
        let mut data = vec![9; extent.length() as usize];
        match image.read_at(&mut data, extent.offset()).and_then(|_| image.block_status(0, CLUSTER)) {
            Ok(_) => read.extend(data),
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    })?;
    assert_eq!(walk, ControlFlow::Continue(()));
    assert!(read == plain(0, 6 * MIB as usize));
    Ok(())
}

#[test]
fn range_is_checked() {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    assert_eq!(errno_of(image.block_status(64 * MIB, 1)), EINVAL);
    assert_eq!(errno_of(image.block_status(0, 64 * MIB + 1)), EINVAL);
    assert_eq!(errno_of(image.block_status(u64::MAX, 2)), EINVAL);
}
