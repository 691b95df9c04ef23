//! An image that this process serves over NBD.

use std::path::Path;

use qcow2blk::{Device, Image, Options, State};

use crate::support::{
    assert_pattern, assert_pattern_at_uri, errno_of, qemu_img, qemu_io, Attached, Folder, Outcome, CLUSTER, EBUSY,
    EINVAL, ENOENT, EUCLEAN,
};

fn on_socket(folder: &Folder, name: &str) -> qcow2blk::Result<Options> {
    let mut options = Options::new()?;
    options.set("socket", folder.path("nbd").to_str().expect("it is UTF-8"))?.set("name", name)?;
    Ok(options)
}

#[test]
fn clients_find_the_disk_at_the_uri() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t400-uri");
    let info = qemu_img(&["info", "-f", "raw", &attached.uri]);
    assert!(info.contains("67108864 bytes"), "{info}");
    for i in [0, 1, 63] {
        assert_pattern_at_uri(&attached.uri, i + 1, u64::from(i) * CLUSTER, CLUSTER);
    }
    Ok(())
}

#[test]
fn device_knows_what_it_is() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t400-names");
    assert_eq!(attached.device.name()?, "t400-names");
    assert!(attached.uri.starts_with("nbd+unix:"), "{}", attached.uri);
    assert_eq!(attached.device.path()?, None);
    assert_eq!(attached.device.state()?, State::Running);
    Ok(())
}

#[test]
fn what_clients_write_is_in_the_image_after_the_close() -> Outcome {
    let Attached { device, image, uri, folder: _folder } = Attached::new("empty.qcow2", "t400-write");
    qemu_io(&["-f", "raw", "-c", "write -P 0x71 1M 64k", "-c", "flush", &uri]);
    device.close()?;
    assert_pattern(&image, 0x71, 1 << 20, CLUSTER);
    qemu_img(&["check", image.to_str().expect("it is UTF-8")]);
    Ok(())
}

#[test]
fn attached_image_is_locked_until_the_device_is_dropped() -> Outcome {
    let Attached { device, image, folder, uri: _ } = Attached::new("plain.qcow2", "t400-lock");
    assert_eq!(errno_of(Image::open(&image)), EBUSY);
    drop(device);
    Image::open(&image)?.close()?;
    assert!(!folder.path("nbd").exists(), "the socket is gone");
    Ok(())
}

#[test]
fn several_images_are_served_by_one_process() -> Outcome {
    let devices = [("plain.qcow2", "t400-a"), ("compressed.qcow2", "t400-b"), ("zstd.qcow2", "t400-c")]
        .map(|(image, name)| Attached::new(image, name));
    for attached in &devices {
        assert_pattern_at_uri(&attached.uri, 3, 2 * CLUSTER, CLUSTER);
    }
    Ok(())
}

#[test]
fn device_can_be_read_only() -> Outcome {
    let folder = Folder::new();
    let mut options = on_socket(&folder, "t400-ro")?;
    options.set("read-only", "true")?;
    let device = Device::attach(folder.copy("plain.qcow2"), &options)?;
    assert_pattern_at_uri(&device.uri()?.expect("NBD has a URI"), 1, 0, CLUSTER);
    assert!(device.status()?.contains("\"read-only\""));
    Ok(())
}

#[test]
fn image_that_cannot_be_opened_is_not_attached() -> Outcome {
    let folder = Folder::new();
    let options = on_socket(&folder, "t400-bad")?;
    assert_eq!(errno_of(Device::attach(folder.path("missing.qcow2"), &options)), ENOENT);
    assert_eq!(errno_of(Device::attach(folder.copy("damaged.qcow2"), &options)), EUCLEAN);
    assert!(!folder.path("nbd").exists());
    assert_eq!(errno_of(Device::attach("a\0b", &options)), EINVAL);
    Ok(())
}

#[test]
fn address_that_is_in_use_is_refused() -> Outcome {
    let folder = Folder::new();
    let first = Device::attach(folder.copy("plain.qcow2"), &on_socket(&folder, "t400-first")?)?;
    let error = Device::attach(folder.copy("empty.qcow2"), &on_socket(&folder, "t400-second")?)
        .expect_err("the socket is in use");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}");
    assert!(Path::exists(&folder.path("nbd")));
    assert_pattern_at_uri(&first.uri()?.expect("NBD has a URI"), 1, 0, CLUSTER);
    Ok(())
}
