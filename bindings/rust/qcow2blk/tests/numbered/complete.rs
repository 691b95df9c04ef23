//! No function of the library is left out.

use std::fs;
use std::path::Path;

fn text_of(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("the sources are there").path();
        if path.is_dir() {
            text += &text_of(&path);
        } else {
            text += &fs::read_to_string(path).expect("sources are text");
        }
    }
    text
}

#[test]
fn each_function_is_wrapped_and_misused() {
    let declared = include_str!("../../../qcow2blk-sys/src/functions.rs");
    let names: Vec<&str> = declared.split("pub fn ").skip(1).filter_map(|rest| rest.split('(').next()).collect();
    assert_eq!(names.len(), 86);
    let wrapper = text_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let misuse = include_str!("t900_misuse.rs");
    // They take no arguments that could be wrong.
    let harmless = ["qcow2blk_version", "qcow2blk_last_error", "qcow2blk_last_errno"];
    for name in names {
        assert!(wrapper.contains(name), "{name} is not wrapped");
        assert!(harmless.contains(&name) || misuse.contains(&format!("{name}(")), "{name} is not misused");
    }
}
