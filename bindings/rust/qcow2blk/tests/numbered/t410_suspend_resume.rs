//! Other programs change the image while the device waits.

use std::time::Duration;

use qcow2blk::{Image, State};

use crate::support::{assert_pattern_at_uri, qemu_img, qemu_io, Attached, Outcome, CLUSTER};

#[test]
fn snapshot_is_made_while_the_device_is_suspended() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t410-snapshot");
    let image = attached.image.to_str().expect("it is UTF-8");
    qemu_io(&["-f", "raw", "-c", "write -P 0x81 0 64k", &attached.uri]);

    attached.device.suspend(None)?;
    assert_eq!(attached.device.state()?, State::Suspended);
    qemu_img(&["snapshot", "-c", "made-while-suspended", image]);
    qemu_img(&["check", image]);
    attached.device.resume(None)?;
    assert_eq!(attached.device.state()?, State::Running);

    assert_pattern_at_uri(&attached.uri, 0x81, 0, CLUSTER);
    qemu_io(&["-f", "raw", "-c", "write -P 0x82 0 64k", &attached.uri]);
    attached.device.detach(None)?;
    let list = qemu_img(&["snapshot", "-l", image]);
    assert!(list.contains("made-while-suspended"), "{list}");
    qemu_img(&["snapshot", "-a", "made-while-suspended", image]);
    crate::support::assert_pattern(&attached.image, 0x81, 0, CLUSTER);
    Ok(())
}

#[test]
fn suspended_image_is_free_for_others() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t410-free");
    attached.device.suspend(Some(Duration::from_secs(10)))?;
    attached.device.suspend(None)?;
    Image::open(&attached.image)?.write_at(&[0x83; 4096], 0)?;
    attached.device.resume(Some(Duration::from_secs(10)))?;
    assert_pattern_at_uri(&attached.uri, 0x83, 0, 4096);
    Ok(())
}

#[test]
fn device_stays_suspended_if_the_image_cannot_be_opened() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t410-gone");
    attached.device.suspend(None)?;
    let elsewhere = attached.folder.path("elsewhere.qcow2");
    std::fs::rename(&attached.image, &elsewhere)?;
    attached.device.resume(None).expect_err("the image is not there");
    assert_eq!(attached.device.state()?, State::Suspended);
    std::fs::rename(&elsewhere, &attached.image)?;
    attached.device.resume(None)?;
    assert_pattern_at_uri(&attached.uri, 1, 0, CLUSTER);
    Ok(())
}

#[test]
fn disk_may_become_smaller_only_if_that_is_said() -> Outcome {
    let attached = Attached::new("empty.qcow2", "t410-shrink");
    attached.device.suspend(None)?;
    qemu_img(&["resize", "-q", "--shrink", "-f", "qcow2", attached.image.to_str().expect("it is UTF-8"), "32M"]);
    let error = attached.device.resume(None).expect_err("it has become smaller");
    assert!(error.to_string().contains("33554432"), "{error:?}");
    assert_eq!(attached.device.state()?, State::Suspended);
    attached.device.resume_shrunk(None)?;
    assert!(qemu_img(&["info", "-f", "raw", &attached.uri]).contains("33554432 bytes"));
    Ok(())
}
