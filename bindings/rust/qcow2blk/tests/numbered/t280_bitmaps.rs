//! Persistent bitmaps, and what they record.

use qcow2blk::{Bitmap, Image};

use crate::support::{errno_of, qemu_img, Folder, Outcome, EEXIST, EINVAL, ENOENT, KIB, MIB};

fn dirty(image: &Image, name: &str) -> qcow2blk::Result<u64> {
    let extents = image.bitmap_status(name, 0, 64 * MIB)?;
    assert_eq!(extents.iter().map(|extent| extent.length()).sum::<u64>(), 64 * MIB);
    Ok(extents.iter().filter(|extent| extent.is_dirty()).map(|extent| extent.length()).sum())
}

#[test]
fn bitmaps_record_and_are_merged() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    image.add_bitmap("monday", Some(64 * KIB))?;
    image.add_disabled_bitmap("week", None)?;
    assert_eq!(errno_of(image.add_bitmap("week", None)), EEXIST);
    assert_eq!(errno_of(image.add_bitmap("x", Some(1000))), EINVAL);
    image.write_at(&[9; 128 * 1024], 40 * MIB)?;
    let monday = Bitmap {
        name: "monday".to_owned(),
        granularity: 64 * KIB,
        dirty_bytes: Some(128 * KIB),
        is_recording: true,
        is_inconsistent: false,
        is_exported: false,
    };
    let week = Bitmap { name: "week".to_owned(), dirty_bytes: Some(0), is_recording: false, ..monday.clone() };
    assert_eq!(image.bitmaps()?, [monday, week]);
    assert_eq!(dirty(&image, "monday")?, 128 * KIB);
    image.disable_bitmap("monday")?;
    image.merge_bitmap("week", "monday")?;
    image.clear_bitmap("monday")?;
    assert_eq!((dirty(&image, "monday")?, dirty(&image, "week")?), (0, 128 * KIB));
    image.enable_bitmap("monday")?;
    image.write_at(&[9], 0)?;
    assert_eq!(dirty(&image, "monday")?, 64 * KIB);
    image.remove_bitmap("monday")?;
    assert_eq!(errno_of(image.remove_bitmap("monday")), ENOENT);
    assert_eq!(errno_of(image.bitmap_status("monday", 0, MIB)), ENOENT);
    image.close()?;
    let info = qemu_img(&["info".as_ref(), path.as_os_str()]);
    assert!(info.contains("week") && !info.contains("monday"), "{info}");
    qemu_img(&["check".as_ref(), "-q".as_ref(), path.as_os_str()]);
    Ok(())
}
