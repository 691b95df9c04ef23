//! What a range of the disk holds, without waiting.

use crate::support::{block_on, errno_of, Folder, Outcome, EINVAL, MIB};
use crate::t260_block_status::joined;

#[test]
fn pieces_are_what_the_whole_is() -> Outcome {
    let folder = Folder::new();
    let image = folder.open_overlay();
    for max in [1, 2, 1000] {
        let (mut at, mut all) = (0, vec![]);
        while at < 16 * MIB {
            let extents = block_on(image.block_status_async(at, 16 * MIB - at, max))?;
            assert!((1..=max).contains(&extents.len()));
            for extent in extents {
                assert_eq!(extent.offset(), at);
                at += extent.length();
                all.push(extent);
            }
        }
        assert_eq!(at, 16 * MIB);
        assert_eq!(joined(&all), joined(&image.block_status(0, 16 * MIB)?), "max {max}");
    }
    Ok(())
}

#[test]
fn empty_range_and_no_room_are_refused() {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    assert_eq!(errno_of(block_on(image.block_status_async(0, 0, 10))), EINVAL);
    assert_eq!(errno_of(block_on(image.block_status_async(0, MIB, 0))), EINVAL);
    assert_eq!(errno_of(block_on(image.block_status_async(64 * MIB, 1, 10))), EINVAL);
}
