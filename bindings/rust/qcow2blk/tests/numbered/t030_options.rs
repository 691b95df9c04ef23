//! How an image is opened.

use qcow2blk::{Image, Options};

use crate::support::{errno_of, Folder, Outcome, EINVAL};

#[test]
fn unknown_option_is_refused_by_name() -> Outcome {
    let _folder = Folder::new();
    let mut options = Options::new()?;
    let error = options.set("colour", "blue").expect_err("there is no such option");
    assert_eq!(error.errno(), EINVAL);
    assert!(error.to_string().contains("colour"), "{error}");
    Ok(())
}

#[test]
fn bad_value_is_refused_and_changes_nothing() -> Outcome {
    let folder = Folder::new();
    let mut options = Options::new()?;
    options.set("read-only", "true")?;
    for (name, value) in [("read-only", "maybe"), ("cache-size", "lots"), ("format", "vmdk"), ("cache", "")] {
        assert_eq!(errno_of(options.set(name, value).map(|_| ())), EINVAL, "{name}={value}");
    }
    assert!(Image::open_with(folder.copy("v2.qcow2"), &options)?.is_read_only()?);
    Ok(())
}

#[test]
fn text_with_a_nul_in_it_is_refused() -> Outcome {
    let _folder = Folder::new();
    let mut options = Options::new()?;
    assert_eq!(errno_of(options.set("for\0mat", "raw").map(|_| ())), EINVAL);
    assert_eq!(errno_of(options.set("format", "r\0aw").map(|_| ())), EINVAL);
    Ok(())
}

#[test]
fn options_can_be_used_several_times_and_dropped_before_the_images() -> Outcome {
    let folder = Folder::new();
    let mut options = Options::new()?;
    options.set("cache-size", "4M")?.set("cache", "writeback")?.set("discard", "unmap")?;
    let first = Image::open_with(folder.copy("plain.qcow2"), &options)?;
    let second = Image::open_with(folder.copy("v2.qcow2"), &options)?;
    drop(options);
    let mut byte = [9];
    first.read_at(&mut byte, 0)?;
    assert_eq!(byte, [1]);
    second.read_at(&mut byte, 0)?;
    assert_eq!(byte, [0]);
    Ok(())
}

#[test]
fn option_of_a_device_is_refused_for_an_image() -> Outcome {
    let folder = Folder::new();
    let image = folder.copy("v2.qcow2");
    for (name, value) in [("name", "disk"), ("socket", "/nowhere/nbd"), ("transport", "ublk"), ("depth", "64")] {
        let mut options = Options::new()?;
        options.set(name, value)?;
        let error = Image::open_with(&image, &options).expect_err("an image has no such option");
        assert_eq!(error.errno(), EINVAL, "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    Ok(())
}

#[test]
fn format_raw_shows_the_file_as_it_is() -> Outcome {
    let folder = Folder::new();
    let mut options = Options::new()?;
    options.set("format", "raw")?;
    let image = Image::open_with(folder.copy("raw.img"), &options)?;
    let mut start = [0; 16];
    image.read_at(&mut start, 1000)?;
    assert_eq!(start, [0x5a; 16]);
    Ok(())
}

#[test]
fn backing_file_can_be_forbidden_or_replaced() -> Outcome {
    let folder = Folder::new();
    folder.copy("base.qcow2");
    let overlay = folder.copy("overlay.qcow2");

    let mut options = Options::new()?;
    options.set("no-backing", "true")?;
    Image::open_with(&overlay, &options).expect_err("it has a backing file");

    let other = folder.copy("empty.qcow2");
    let mut options = Options::new()?;
    options.set("backing", other.to_str().expect("it is UTF-8"))?.set("backing-format", "qcow2")?;
    let image = Image::open_with(&overlay, &options)?;
    let mut byte = [9];
    image.read_at(&mut byte, 0)?;
    assert_eq!(byte, [0], "base.qcow2 has 0x11 there");
    Ok(())
}

#[test]
fn options_can_go_to_another_thread() -> Outcome {
    let folder = Folder::new();
    let image = folder.copy("v2.qcow2");
    let mut options = Options::new()?;
    options.set("read-only", "true")?;
    let size = std::thread::spawn(move || Image::open_with(image, &options)?.size()).join().expect("no panic")?;
    assert_eq!(size, 1 << 20);
    Ok(())
}
