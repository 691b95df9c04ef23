//! Another size for a disk that is in use.

use qcow2blk::Image;

use crate::support::{errno_of, qemu_img, Attached, Folder, Outcome, EINVAL, ERANGE, MIB};

#[test]
fn open_image_gets_another_size() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    image.resize(128 * MIB)?;
    image.write_at(&[9; 4096], 100 * MIB)?;
    assert_eq!(errno_of(image.resize(MIB)), ERANGE);
    assert_eq!(errno_of(image.resize(0)), EINVAL);
    image.resize_or_shrink(MIB)?;
    assert_eq!(image.size()?, MIB);
    assert_eq!(errno_of(image.write_at(&[9], MIB)), EINVAL);
    image.close()?;
    qemu_img(&["check".as_ref(), "-q".as_ref(), path.as_os_str()]);
    Ok(())
}

#[test]
fn device_gets_another_size() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t290-resize");
    attached.device.resize(128 * MIB, None)?;
    assert_eq!(errno_of(attached.device.resize(MIB, None)), ERANGE);
    attached.device.resize_or_shrink(64 * MIB, None)?;
    attached.device.resize_or_shrink_by_force(MIB, None)?;
    let info = qemu_img(&["info", "-f", "raw", &attached.uri]);
    assert!(info.contains("1048576 bytes"), "{info}");
    Ok(())
}
