//! Internal snapshots.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use qcow2blk::{Image, Options};

use crate::support::{errno_of, Folder, Outcome, EROFS, MIB};

#[test]
fn snapshots_are_listed_in_order() -> Outcome {
    let folder = Folder::new();
    let snapshots = folder.open("snapshots.qcow2").snapshots()?;
    let names: Vec<_> = snapshots.iter().map(|s| (s.id.as_str(), s.name.as_str())).collect();
    assert_eq!(names, [("1", "before"), ("2", "after")]);
    for snapshot in &snapshots {
        assert_eq!((snapshot.disk_size, snapshot.vm_state_size, snapshot.vm_clock), (MIB, 0, Duration::ZERO));
        let first = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert!(snapshot.date > first && snapshot.date <= SystemTime::now(), "{snapshot:?}");
    }
    assert!(snapshots[0].date <= snapshots[1].date);
    Ok(())
}

#[test]
fn image_without_snapshots_has_an_empty_list() -> Outcome {
    let folder = Folder::new();
    assert_eq!(folder.open("plain.qcow2").snapshots()?, []);
    Ok(())
}

#[test]
fn snapshot_is_read_as_the_disk_was_then() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("snapshots.qcow2");
    for (snapshot, byte) in [("before", 0x31), ("after", 0x32), ("1", 0x31), ("2", 0x32)] {
        let mut options = Options::new()?;
        options.set("snapshot", snapshot)?;
        let image = Image::open_with(&path, &options)?;
        let mut buffer = [0; 4096];
        image.read_at(&mut buffer, 4096)?;
        assert_eq!(buffer, [byte; 4096], "{snapshot}");
    }
    let mut buffer = [0; 4096];
    Image::open(&path)?.read_at(&mut buffer, 4096)?;
    assert_eq!(buffer, [0x33; 4096]);
    Ok(())
}

#[test]
fn snapshot_is_read_only() -> Outcome {
    let folder = Folder::new();
    let mut options = Options::new()?;
    options.set("snapshot", "before")?;
    let image = Image::open_with(folder.copy("snapshots.qcow2"), &options)?;
    assert!(image.is_read_only()?);
    assert_eq!(errno_of(image.write_at(&[1; 512], 0)), EROFS);
    Ok(())
}
