//! The C interface of libqcow2blk, as `qcow2blk.h` declares it. The header says what each function does, which errors
//! it gives and which threads may call it; the crate `qcow2blk` is the safe way to use it.
//!
//! `tests/header.rs` compares all that stands here with the header that is installed. The macros `QCOW2BLK_HAVE_*`
//! are left out: they are for the C preprocessor, and what this version of the crate declares, it needs.
#![allow(non_camel_case_types)]

mod callbacks;
mod constants;
mod functions;
mod types;

pub use callbacks::*;
pub use constants::*;
pub use functions::*;
pub use types::*;
