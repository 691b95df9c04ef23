//! Flushing.

use qcow2blk::Image;

use crate::support::{assert_pattern, qemu_img, Folder, Outcome, MIB};

/// A copy of the file, made while it is open, is what a loss of power would leave.
#[test]
fn flushed_writes_are_in_the_file() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let image = Image::open(&path)?;
    for i in 0..16 {
        image.write_at(&[0x50 + i; 4096], u64::from(i) * MIB)?;
    }
    image.flush()?;
    let copy = folder.path("copy.qcow2");
    std::fs::copy(&path, &copy)?;
    for i in 0..16 {
        assert_pattern(&copy, 0x50 + i, u64::from(i) * MIB, 4096);
    }
    image.close()?;
    qemu_img(&["check", path.to_str().expect("it is UTF-8")]);
    Ok(())
}

#[test]
fn flush_of_nothing_and_of_a_read_only_image_succeeds() -> Outcome {
    let folder = Folder::new();
    folder.open("empty.qcow2").flush()?;
    Image::open_read_only(folder.copy("plain.qcow2"))?.flush()?;
    Ok(())
}
