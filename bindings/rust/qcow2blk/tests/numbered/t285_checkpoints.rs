//! Checkpoints: a snapshot and a bitmap of the same name each.

use std::time::{Duration, SystemTime};

use qcow2blk::{Checkpoint, Image};

use crate::support::{errno_of, qemu_img, Folder, Outcome, EEXIST, EINVAL, KIB, MIB};

#[test]
fn checkpoints_record_up_to_the_next_one() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let image = Image::open(&path)?;
    image.create_checkpoint("monday", Some(128 * KIB))?;
    image.write_at(&[9; 256 * 1024], 40 * MIB)?;
    image.create_checkpoint("tuesday", None)?;
    assert_eq!(errno_of(image.create_checkpoint("tuesday", None)), EEXIST);
    assert_eq!(errno_of(image.create_checkpoint("7", None)), EINVAL);
    assert_eq!(errno_of(image.create_checkpoint("x", Some(1000))), EINVAL);
    let found = image.checkpoints()?;
    for checkpoint in &found {
        assert!(SystemTime::now().duration_since(checkpoint.date)? < Duration::from_secs(60));
    }
    let monday = Checkpoint {
        name: "monday".to_owned(),
        snapshot_id: "1".to_owned(),
        date: found[0].date,
        granularity: 128 * KIB,
        dirty_bytes: Some(256 * KIB),
        is_recording: false,
        is_inconsistent: false,
    };
    let tuesday = Checkpoint {
        name: "tuesday".to_owned(),
        snapshot_id: "2".to_owned(),
        date: found[1].date,
        dirty_bytes: Some(0),
        is_recording: true,
        ..monday.clone()
    };
    assert_eq!(found, [monday.clone(), tuesday]);
    image.delete_checkpoint("tuesday")?;
    image.delete_checkpoint("tuesday")?;
    assert_eq!(image.checkpoints()?, [Checkpoint { is_recording: true, ..monday }]);
    image.close()?;
    let info = qemu_img(&["info".as_ref(), path.as_os_str()]);
    assert!(info.matches("monday").count() == 2 && !info.contains("tuesday"), "{info}");
    qemu_img(&["check".as_ref(), "-q".as_ref(), path.as_os_str()]);
    Ok(())
}
