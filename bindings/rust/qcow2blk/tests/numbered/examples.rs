//! The programs that the README shows.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{assert_pattern, qemu_img, Folder, Outcome, CLUSTER};

/// Cargo builds examples for tests, beside the folder of the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a program knows where it is");
    let target = test.parent().and_then(Path::parent).expect("tests are in a folder of the target folder");
    target.join("examples").join(name)
}

fn run(name: &str, arguments: &[&Path]) -> String {
    let output = Command::new(example(name))
        .args(arguments)
        .output()
        .expect("cargo builds the examples, unless it is told to build some of the tests only");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

#[test]
fn readme_shows_the_example_and_it_is_short() {
    let readme = include_str!("../../../README.md");
    let source = include_str!("../../examples/write.rs");
    let (_, program) = source.split_once("\n\n").expect("a comment comes first");
    assert!(readme.contains(&format!("```rust,no_run\n{program}```")), "the README shows another program");
    assert!(program.lines().count() < 30);
}

#[test]
fn write_writes() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("empty.qcow2");
    let output = run("write", &[&path]);
    assert!(output.contains("67108864 bytes in clusters of 65536"), "{output}");
    for i in 0..16 {
        assert!(output.contains(&format!("write {i}: 4096 bytes")), "{output}");
        assert_pattern(&path, i, u64::from(i) * CLUSTER, 4096);
    }
    Ok(())
}

#[test]
fn snapshot_is_made() -> Outcome {
    let folder = Folder::new();
    let path = folder.copy("plain.qcow2");
    let output = run("snapshot", &[&path, &folder.path("nbd")]);
    assert!(output.contains("nbd+unix:") && output.contains("Suspended"), "{output}");
    let list = qemu_img(&["snapshot", "-l", path.to_str().expect("it is UTF-8")]);
    assert!(list.contains("backup"), "{list}");
    Ok(())
}
