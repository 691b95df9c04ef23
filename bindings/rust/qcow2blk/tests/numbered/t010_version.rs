//! The version of the library, and what it can do.

use qcow2blk::{has_feature, version, Version, VERSION};

use crate::support::{errno_of, start, Outcome, EINVAL};

#[test]
fn library_is_as_new_as_this_crate_needs() {
    start();
    let version = version();
    assert_eq!(version.major, VERSION.major);
    assert!(version >= VERSION, "{version} is older than {VERSION}");
}

#[test]
fn version_is_shown_with_dots() {
    assert_eq!(Version { major: 1, minor: 20, patch: 3 }.to_string(), "1.20.3");
}

#[test]
fn compressed_clusters_can_be_read() -> Outcome {
    start();
    assert!(has_feature("deflate")?);
    assert!(has_feature("zstd")?);
    Ok(())
}

#[test]
fn unknown_name_is_a_feature_that_is_missing() -> Outcome {
    start();
    assert!(!has_feature("time-travel")?);
    assert!(!has_feature("")?);
    Ok(())
}

#[test]
fn features_of_the_machine_can_be_asked_for() -> Outcome {
    start();
    for name in ["io_uring", "ublk", "nbd"] {
        // Which answer is right depends on the machine; that it is the same one twice does not.
        assert_eq!(has_feature(name)?, has_feature(name)?, "{name}");
    }
    Ok(())
}

#[test]
fn name_with_a_nul_in_it_is_refused() {
    start();
    assert_eq!(errno_of(has_feature("defl\0ate")), EINVAL);
}
