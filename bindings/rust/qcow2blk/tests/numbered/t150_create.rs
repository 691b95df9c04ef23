//! New images, and the keys of encrypted ones.

use qcow2blk::{create, create_over, Image, Options};

use crate::support::{errno_of, qemu_img, Folder, Outcome, EBUSY, EEXIST, EINVAL, ENOENT, MIB};

#[test]
fn new_image_is_what_qemu_sees() -> Outcome {
    let folder = Folder::new();
    let path = folder.path("new.qcow2");
    let mut options = Options::new()?;
    options.set("cluster_size", "128K")?.set("extended_l2", "on")?;
    create(&path, Some(8 * MIB), Some(&options))?;
    let info = qemu_img(&["info".as_ref(), "--output=json".as_ref(), path.as_os_str()]);
    for part in ["\"virtual-size\": 8388608", "\"cluster-size\": 131072", "\"extended-l2\": true"] {
        assert!(info.contains(part), "{part} in {info}");
    }
    assert_eq!(errno_of(create(&path, Some(MIB), None)), EEXIST);
    create_over(&path, Some(MIB), None)?;
    let image = Image::open(&path)?;
    assert_eq!(image.size()?, MIB);
    assert_eq!(errno_of(create_over(&path, Some(MIB), None)), EBUSY);
    Ok(())
}

#[test]
fn overlay_has_the_size_of_its_backing_file() -> Outcome {
    let folder = Folder::new();
    folder.copy("base.qcow2");
    let mut options = Options::new()?;
    options.set("backing_file", "base.qcow2")?.set("backing_fmt", "qcow2")?;
    create(folder.path("top.qcow2"), None, Some(&options))?;
    let image = Image::open(folder.path("top.qcow2"))?;
    assert_eq!((image.size()?, image.backing_file()?.as_deref()), (16 * MIB, Some("base.qcow2")));
    Ok(())
}

#[test]
fn what_no_image_can_be_is_refused() -> Outcome {
    let folder = Folder::new();
    let path = folder.path("new.qcow2");
    let mut options = Options::new()?;
    assert_eq!(errno_of(options.set("cluster_size", "100K").map(|_| ())), EINVAL);
    assert_eq!(errno_of(create(&path, None, None)), EINVAL);
    assert_eq!(errno_of(create(&path, Some(u64::MAX), None)), EINVAL);
    options.set("cache-size", "2M")?;
    assert_eq!(errno_of(create(&path, Some(MIB), Some(&options))), EINVAL);
    assert!(!path.exists());
    Ok(())
}

#[test]
fn encrypted_image_opens_with_its_key_alone() -> Outcome {
    let folder = Folder::new();
    let path = folder.path("luks.qcow2");
    let mut options = Options::new()?;
    options.set("encrypt.format", "luks")?.set("encrypt.iter-time", "10")?;
    assert_eq!(errno_of(options.set_key(b"").map(|_| ())), EINVAL);
    assert_eq!(errno_of(create(&path, Some(MIB), Some(&options))), EINVAL);
    options.set_key(b"open sesame")?;
    create(&path, Some(MIB), Some(&options))?;
    assert_eq!(errno_of(Image::open(&path).map(|_| ())), ENOENT);
    let mut options = Options::new()?;
    options.set_key(b"open sesame")?;
    let image = Image::open_with(&path, &options)?;
    drop(options);
    image.write_at(&[0x5a; 4096], 0)?;
    let mut buffer = [0; 4096];
    image.read_at(&mut buffer, 0)?;
    assert_eq!(buffer, [0x5a; 4096]);
    Ok(())
}
