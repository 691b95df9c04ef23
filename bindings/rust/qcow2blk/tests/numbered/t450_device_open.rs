//! Devices that are attached already.

use qcow2blk::{Device, State};

use crate::support::{errno_of, start, Attached, Outcome, EINVAL, ENODEV};

#[test]
fn device_is_found_by_its_name_image_and_uri() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t450-find");
    for target in ["t450-find", attached.image.to_str().expect("it is UTF-8"), &attached.uri] {
        let found = Device::open(target)?;
        assert_eq!(found.name()?, "t450-find", "{target}");
        assert_eq!(found.uri()?.as_ref(), Some(&attached.uri));
        assert_eq!(found.state()?, State::Running);
        assert!(found.status()?.contains("t450-find"));
    }
    Ok(())
}

#[test]
fn handles_of_a_device_do_the_same() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t450-same");
    let found = Device::open("t450-same")?;
    found.suspend(None)?;
    assert_eq!(attached.device.state()?, State::Suspended);
    attached.device.resume(None)?;
    assert_eq!(found.state()?, State::Running);
    found.detach(None)?;
    assert_eq!(attached.device.state()?, State::Ended);
    found.close()?;
    attached.device.close()?;
    Ok(())
}

#[test]
fn what_is_not_attached_is_not_found() {
    start();
    let error = Device::open("t450-never-attached").expect_err("there is no such device");
    assert_eq!(error.errno(), ENODEV, "{error}");
    assert!(error.to_string().contains("t450-never-attached"), "{error}");
    assert_eq!(errno_of(Device::open("t450\0")), EINVAL);
}

#[test]
fn device_that_was_closed_is_not_found() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t450-closed");
    attached.device.close()?;
    assert_eq!(errno_of(Device::open("t450-closed")), ENODEV);
    Ok(())
}
