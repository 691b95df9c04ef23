//! Snapshots and bitmaps of a device that has clients.

use std::time::Duration;

use crate::support::{assert_pattern_at_uri, errno_of, qemu_io, Attached, Outcome, ENOENT, KIB};

#[test]
fn snapshot_of_a_device_is_gone_back_to() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t460-snapshots");
    let device = &attached.device;
    assert_eq!(device.create_snapshot("one", None)?, "1");
    assert_eq!(device.snapshots(Some(Duration::from_secs(10)))?[0].name, "one");
    qemu_io(&["-f", "raw", "-c", "write -P 7 0 64k", &attached.uri]);
    device.revert_snapshot_by_force("one", None)?;
    assert_pattern_at_uri(&attached.uri, 1, 0, 64 * KIB);
    device.delete_snapshot("one", None)?;
    assert_eq!(errno_of(device.delete_snapshot("one", None)), ENOENT);
    Ok(())
}

#[test]
fn bitmaps_of_a_device_record_what_clients_write() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t460-bitmaps");
    let device = &attached.device;
    device.add_bitmap("monday", Some(64 * KIB), None)?;
    device.add_disabled_bitmap("week", None, None)?;
    qemu_io(&["-f", "raw", "-c", "write -P 7 1M 128k", &attached.uri]);
    assert_eq!(device.bitmaps(None)?[0].dirty_bytes, Some(128 * KIB));
    device.disable_bitmap("monday", None)?;
    device.merge_bitmap("week", "monday", None)?;
    device.clear_bitmap("monday", None)?;
    device.enable_bitmap("monday", None)?;
    device.remove_bitmap("monday", None)?;
    assert_eq!(device.bitmaps(None)?[0].dirty_bytes, Some(128 * KIB));
    assert_eq!(errno_of(device.remove_bitmap("monday", None)), ENOENT);
    Ok(())
}
