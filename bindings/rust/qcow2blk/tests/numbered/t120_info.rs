//! What is known of an open image.

use qcow2blk::{Image, Options};

use crate::support::{Folder, Outcome, CLUSTER, MIB};

#[test]
fn geometry_is_that_of_the_image() -> Outcome {
    let folder = Folder::new();
    let image = folder.open("plain.qcow2");
    assert_eq!(image.size()?, 64 * MIB);
    assert_eq!(image.cluster_size()?, CLUSTER);
    assert_eq!(image.format_version()?, 3);
    assert_eq!(folder.open("v2.qcow2").format_version()?, 2);
    Ok(())
}

#[test]
fn raw_image_has_format_version_0() -> Outcome {
    let folder = Folder::new();
    let mut options = Options::new()?;
    options.set("format", "raw")?;
    let image = Image::open_with(folder.copy("raw.img"), &options)?;
    assert_eq!(image.format_version()?, 0);
    assert_eq!(image.size()?, MIB);
    assert!(image.cluster_size()?.is_power_of_two());
    Ok(())
}

#[test]
fn backing_file_is_named_as_the_image_does() -> Outcome {
    let folder = Folder::new();
    assert_eq!(folder.open_overlay().backing_file()?.as_deref(), Some("base.qcow2"));
    assert_eq!(folder.open("plain.qcow2").backing_file()?, None);
    Ok(())
}

#[test]
fn info_is_json_about_the_image() -> Outcome {
    let folder = Folder::new();
    let info = folder.open_overlay().info()?;
    assert!(info.starts_with('{') && info.trim_end().ends_with('}'), "{info}");
    for expected in ["\"image\"", "\"geometry\"", "\"chain\"", "\"cache\"", "overlay.qcow2", "base.qcow2", "16777216"] {
        assert!(info.contains(expected), "{expected} is missing in {info}");
    }
    Ok(())
}

/// A name that is longer than the buffer that is tried first: the text is asked for again.
#[test]
fn long_texts_are_whole() -> Outcome {
    let folder = Folder::new();
    let long = folder.path(&"d".repeat(250));
    std::fs::create_dir(&long)?;
    let deep = long.join("e".repeat(250)).join("f".repeat(250));
    std::fs::create_dir_all(&deep)?;
    let path = deep.join("g".repeat(240) + ".qcow2");
    std::fs::rename(folder.copy("plain.qcow2"), &path)?;
    let info = Image::open_read_only(&path)?.info()?;
    assert!(info.len() > 1024 && info.contains(path.to_str().expect("it is UTF-8")), "{info}");
    assert!(info.trim_end().ends_with('}'), "{info}");
    Ok(())
}
