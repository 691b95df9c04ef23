//! Snapshots that are made and gone back to while the image is open.

use qcow2blk::{Disk, Image, LocalImage};

use crate::support::{errno_of, qemu_img, Folder, Outcome, EINVAL, ENOENT, EROFS, MIB};

fn live_with(image: &Disk) -> Outcome {
    let mut buffer = [0; 4096];
    assert_eq!(image.create_snapshot("one")?, "1");
    image.write_at(&[0x77; 4096], 0)?;
    let names: Vec<_> = image.snapshots()?.into_iter().map(|snapshot| snapshot.name).collect();
    assert_eq!(names, ["one"]);
    image.revert_snapshot("one")?;
    image.read_at(&mut buffer, 0)?;
    assert_eq!(buffer, [1; 4096]);
    image.delete_snapshot("1")?;
    assert_eq!(errno_of(image.delete_snapshot("1")), ENOENT);
    assert_eq!(errno_of(image.revert_snapshot("one")), ENOENT);
    assert_eq!(errno_of(image.create_snapshot("a\0b")), EINVAL);
    Ok(())
}

#[test]
fn snapshot_is_made_gone_back_to_and_deleted() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    live_with(&image)?;
    image.close()?;
    qemu_img(&["check".as_ref(), "-q".as_ref(), path.as_os_str()]);
    Ok(())
}

#[test]
fn image_without_a_thread_does_it_too() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = LocalImage::open(&path)?;
    live_with(&image)?;
    image.close()?;
    qemu_img(&["check".as_ref(), "-q".as_ref(), path.as_os_str()]);
    Ok(())
}

#[test]
fn size_goes_back_with_the_disk() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    qemu_img(&["snapshot".as_ref(), "-c".as_ref(), "small".as_ref(), path.as_os_str()]);
    qemu_img(&["resize".as_ref(), "-q".as_ref(), path.as_os_str(), "128M".as_ref()]);
    let image = Image::open(&path)?;
    image.write_at(&[1; 512], 100 * MIB)?;
    image.revert_snapshot("small")?;
    assert_eq!(image.size()?, 64 * MIB);
    assert_eq!(errno_of(image.write_at(&[1; 512], 100 * MIB)), EINVAL);
    Ok(())
}

#[test]
fn image_that_is_read_only_is_left_alone() -> Outcome {
    let folder = Folder::new();
    let image = Image::open_read_only(folder.copy("plain.qcow2"))?;
    assert_eq!(errno_of(image.create_snapshot("one")), EROFS);
    Ok(())
}
