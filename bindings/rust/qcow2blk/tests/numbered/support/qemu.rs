//! qemu's tools: what we write is checked by them, and not by ourselves only.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Runs qemu-img, which must succeed, and returns what it prints.
pub fn qemu_img<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    run("qemu-img", arguments)
}

/// Runs qemu-io, which must succeed, and returns what it prints.
pub fn qemu_io<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    run("qemu-io", arguments)
}

/// Has qemu-io see that a range of a qcow2 image is filled with one byte.
pub fn assert_pattern(image: &Path, byte: u8, offset: u64, length: u64) {
    assert_read("qcow2", image.as_os_str(), byte, offset, length);
}

/// Has qemu-io see that a range of an NBD export is filled with one byte.
pub fn assert_pattern_at_uri(uri: &str, byte: u8, offset: u64, length: u64) {
    assert_read("raw", OsStr::new(uri), byte, offset, length);
}

fn assert_read(format: &str, what: &OsStr, byte: u8, offset: u64, length: u64) {
    let read = format!("read -P {byte} {offset} {length}");
    let arguments = ["-r", "-f", format, "-c", &read].map(OsStr::new);
    let output = qemu_io(&[&arguments[..], &[what]].concat());
    assert!(!output.contains("verification failed"), "{output}");
    assert!(output.contains(&format!("read {length}/{length} bytes")), "{output}");
}

fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}, which the tests need: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {text}");
    text
}
