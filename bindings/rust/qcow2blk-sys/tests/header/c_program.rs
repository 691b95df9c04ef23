//! A C program that prints what the compiler makes of the header.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static PROGRAMS: AtomicU32 = AtomicU32::new(0);

/// Has the C compiler work out expressions.
///
/// # Arguments
/// * `expressions` - a name for each, and the C expression
pub fn values_of(expressions: impl Iterator<Item = (String, String)>) -> BTreeMap<String, i128> {
    let mut source = "#include <qcow2blk.h>\n#include <stdio.h>\nint main (void)\n{\n".to_owned();
    for (name, expression) in expressions {
        writeln!(source, "  printf (\"{name}=%lld\\n\", (long long) ({expression}));").expect("a string takes text");
    }
    source.push_str("  return 0;\n}\n");
    run(&source).lines().map(name_and_value).collect()
}

fn name_and_value(line: &str) -> (String, i128) {
    let (name, value) = line.split_once('=').expect("the program prints NAME=VALUE");
    (name.to_owned(), value.parse().expect("the program prints numbers"))
}

fn run(source: &str) -> String {
    let number = PROGRAMS.fetch_add(1, Ordering::Relaxed);
    let program = std::env::temp_dir().join(format!("qcow2blk-sys-{}-{number}", std::process::id()));
    let file = program.with_extension("c");
    std::fs::write(&file, source).expect("the folder for temporary files can be written");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let output = Command::new(&compiler)
        .args(["-std=c11", "-Wall", "-Werror", "-I", env!("QCOW2BLK_INCLUDE"), "-o"])
        .arg(&program)
        .arg(&file)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {compiler}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(&program).output().expect("the program runs");
    assert!(output.status.success());
    for made in [&file, &program] {
        let _ = std::fs::remove_file(made);
    }
    String::from_utf8(output.stdout).expect("the program prints ASCII")
}
