//! What a device tells of itself.

use qcow2blk::State;

use crate::support::{assert_pattern_at_uri, Attached, Outcome, CLUSTER};

#[test]
fn status_is_json_about_the_device() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t420-json");
    assert_pattern_at_uri(&attached.uri, 1, 0, CLUSTER);
    let status = attached.device.status()?;
    assert!(status.starts_with('{') && status.trim_end().ends_with('}'), "{status}");
    for expected in ["\"t420-json\"", "\"running\"", "\"geometry\"", "\"chain\"", "\"requests\"", "plain.qcow2"] {
        assert!(status.contains(expected), "{expected} is missing in {status}");
    }
    Ok(())
}

#[test]
fn status_goes_with_the_state() -> Outcome {
    let attached = Attached::new("plain.qcow2", "t420-state");
    attached.device.suspend(None)?;
    assert!(attached.device.status()?.contains("\"suspended\""));
    attached.device.resume(None)?;
    assert!(attached.device.status()?.contains("\"running\""));
    assert_eq!(attached.device.state()?, State::Running);
    Ok(())
}
