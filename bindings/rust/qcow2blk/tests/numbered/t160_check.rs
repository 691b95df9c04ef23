//! What a check finds and repairs.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use qcow2blk::{check, check_with, CheckReport, Image, Repair, Verdict};

use crate::support::{errno_of, qemu_img, Folder, Outcome, CLUSTER, EBUSY, EOPNOTSUPP};

#[test]
fn sound_image_is_clean() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let (verdict, numbers) = check(&path, Repair::Nothing)?;
    assert_eq!((verdict, numbers.allocated_clusters, numbers.leaks), (Verdict::Clean, 64, 0));
    assert_eq!(errno_of(check(folder.copy("raw.img"), Repair::Nothing)), EOPNOTSUPP);
    let image = Image::open(&path)?;
    assert_eq!(errno_of(check(&path, Repair::All)), EBUSY);
    assert_eq!(check(&path, Repair::NothingAndIgnoreLocks)?.0, Verdict::Clean);
    image.close()?;
    Ok(())
}

/// One of the first clusters of data is not counted as used.
#[test]
fn errors_are_found_told_and_repaired() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    OpenOptions::new().write(true).open(&path)?.write_all_at(&[0, 0], 2 * CLUSTER + 2 * 8)?;
    let mut errors = 0;
    let (verdict, _) =
        check_with(&path, Repair::Nothing, |report| errors += matches!(report, CheckReport::Error(_)) as u32)?;
    assert_eq!(verdict, Verdict::Corrupt);
    assert!(errors > 0);
    let (verdict, numbers) = check_with(&path, Repair::All, |_| panic!("this is told and does no harm"))?;
    assert_eq!(verdict, Verdict::Clean);
    assert!(numbers.corruptions_fixed > 0);
    qemu_img(&["check".as_ref(), "-q".as_ref(), path.as_os_str()]);
    Ok(())
}
