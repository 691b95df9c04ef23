//! The end of a device.

use std::time::Duration;

use qcow2blk::{Image, State};

use crate::support::{assert_pattern, errno_of, qemu_io, Attached, Outcome, CLUSTER};

const ESRCH: i32 = 3;

#[test]
fn detach_writes_everything_down_and_leaves_the_handle() -> Outcome {
    let attached = Attached::new("empty.qcow2", "t430-detach");
    qemu_io(&["-f", "raw", "-c", "write -P 0x91 0 64k", &attached.uri]);
    attached.device.detach(Some(Duration::from_secs(20)))?;
    assert_eq!(attached.device.state()?, State::Ended);
    assert_eq!(attached.device.name()?, "t430-detach");
    assert!(!attached.folder.path("nbd").exists(), "the socket is gone");
    Image::open(&attached.image)?.close()?;
    assert_pattern(&attached.image, 0x91, 0, CLUSTER);
    attached.device.close()?;
    Ok(())
}

#[test]
fn device_that_has_ended_does_nothing_more() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t430-ended");
    attached.device.detach(None)?;
    assert_eq!(errno_of(attached.device.suspend(None)), ESRCH);
    assert_eq!(errno_of(attached.device.resume(None)), ESRCH);
    assert_eq!(errno_of(attached.device.detach(None)), ESRCH);
    assert_eq!(errno_of(attached.device.status()), ESRCH);
    Ok(())
}

#[test]
fn suspended_device_can_be_detached() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t430-suspended");
    attached.device.suspend(None)?;
    attached.device.detach(None)?;
    assert_eq!(attached.device.state()?, State::Ended);
    Ok(())
}

#[test]
fn force_ends_a_device_too() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t430-force");
    attached.device.detach_by_force(Some(Duration::from_secs(5)))?;
    assert_eq!(attached.device.state()?, State::Ended);
    Image::open(&attached.image)?.close()?;
    Ok(())
}
