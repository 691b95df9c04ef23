//! Asks pkg-config where the library is.

use std::process::{exit, Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for variable in
        ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "PKG_CONFIG_SYSROOT_DIR", "PKG_CONFIG_ALLOW_SYSTEM_LIBS"]
    {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    match pkg_config(&["--print-errors", "--libs", "qcow2blk >= 0.1"]) {
        Ok(flags) => flags.split_whitespace().for_each(pass_on),
        Err(why) => {
            eprintln!("qcow2blk-sys: cannot find libqcow2blk: {why}");
            eprintln!(
                "qcow2blk-sys: install qcow2blk with its library, or set PKG_CONFIG_PATH to the folder of qcow2blk.pc"
            );
            exit(1);
        }
    }
    // For the tests, which compare these declarations with the header that is installed.
    if let Some(folder) = include_folder() {
        println!("cargo:include={folder}");
        println!("cargo:rustc-env=QCOW2BLK_INCLUDE={folder}");
    }
}

/// Where the header is. The variable "includedir" would not have PKG_CONFIG_SYSROOT_DIR in front of it.
fn include_folder() -> Option<String> {
    let flags = pkg_config(&["--cflags-only-I", "qcow2blk"]).ok()?;
    flags.split_whitespace().find_map(|flag| flag.strip_prefix("-I")).map(str::to_owned)
}

fn pkg_config(arguments: &[&str]) -> Result<String, String> {
    let program = std::env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = Command::new(&program)
        .args(arguments)
        // Else -I/usr/include is left out.
        .env("PKG_CONFIG_ALLOW_SYSTEM_CFLAGS", "1")
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{program} printed what is not UTF-8"))
}

/// Gives one word of "pkg-config --libs" to cargo.
fn pass_on(flag: &str) {
    if let Some(folder) = flag.strip_prefix("-L") {
        println!("cargo:rustc-link-search=native={folder}");
    } else if let Some(library) = flag.strip_prefix("-l") {
        println!("cargo:rustc-link-lib={library}");
    } else {
        println!("cargo:rustc-link-arg={flag}");
    }
}
