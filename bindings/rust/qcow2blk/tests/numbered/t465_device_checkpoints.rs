//! Checkpoints of several devices, of one instant.

use std::time::Duration;

use qcow2blk::Device;

use crate::support::{errno_of, qemu_img, qemu_io, Attached, Outcome, EEXIST, EINVAL, KIB};

/// The name of each, and how much of it is dirty.
fn checkpoints_of(device: &Device) -> qcow2blk::Result<Vec<(String, Option<u64>)>> {
    let found = device.checkpoints(None)?;
    assert!(found.last().map_or(true, |last| last.is_recording));
    Ok(found.into_iter().map(|checkpoint| (checkpoint.name, checkpoint.dirty_bytes)).collect())
}

#[test]
fn checkpoints_of_devices_are_made_of_all_or_of_none() -> Outcome {
    let (one, two) =
        (Attached::new("plain.qcow2", "t465-checkpoints-1"), Attached::new("plain.qcow2", "t465-checkpoints-2"));
    let both = [&one.device, &two.device];
    Device::create_checkpoint_of(&both, "monday", Some(64 * KIB), Some(Duration::from_secs(10)))?;
    qemu_io(&["-f", "raw", "-c", "write -P 7 1M 128k", &one.uri]);
    two.device.create_checkpoint("tuesday", None, None)?;
    assert_eq!(errno_of(Device::create_checkpoint_of(&both, "tuesday", None, None)), EEXIST);
    assert_eq!(errno_of(Device::create_checkpoint_of(&[], "x", None, None)), EINVAL);
    assert_eq!(checkpoints_of(&one.device)?, [("monday".to_owned(), Some(128 * KIB))]);
    assert_eq!(checkpoints_of(&two.device)?, [("monday".to_owned(), Some(0)), ("tuesday".to_owned(), Some(0))]);
    two.device.delete_checkpoint("monday", None)?;
    two.device.delete_checkpoint("monday", None)?;
    assert_eq!(checkpoints_of(&two.device)?, [("tuesday".to_owned(), Some(0))]);
    for (attached, name) in [(one, "monday"), (two, "tuesday")] {
        attached.device.close()?;
        let info = qemu_img(&["info".as_ref(), attached.image.as_os_str()]);
        assert_eq!(info.matches(name).count(), 2, "{info}");
        qemu_img(&["check".as_ref(), "-q".as_ref(), attached.image.as_os_str()]);
    }
    Ok(())
}
