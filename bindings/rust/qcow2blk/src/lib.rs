//! QCOW2 disk images in your own process, with the engine of the `qcow2blk` command.
//!
//! ```no_run
//! use qcow2blk::Image;
//!
//! # fn main() -> qcow2blk::Result<()> {
//! let image = Image::open("disk.qcow2")?;
//! let mut sector = [0; 512];
//! image.read_at(&mut sector, 0)?;
//! image.write_at(&sector, 4096)?;
//! image.flush()?;
//! image.close()
//! # }
//! ```
//!
//! * [`Image`] is an open image. Any number of threads can use it at once. [`LocalImage`] has no thread of its own: you
//!   drive it from your event loop. Both are a [`Disk`], where all that can be done with an open image is described.
//! * [`Cursor`] reads and writes an image by [`Read`](std::io::Read), [`Write`](std::io::Write) and
//!   [`Seek`](std::io::Seek).
//! * Requests that nobody waits for end in a [`Request`], which is a future, in a [`Queue`], or in a closure
//!   ([`Image::submit`]).
//! * [`Device`] serves an image over NBD or as a block device.
//! * [`create`] makes image files, [`check()`] checks and repairs them.
//!
//! Offsets and lengths are bytes of the virtual disk and need no alignment. The library starts no thread before its
//! first call. After a `fork` the child has no engine: each call there fails.

mod bitmap;
mod callback;
mod checkpoint;
mod cursor;
mod device;
mod device_edits;
mod disk;
mod error;
mod event;
mod extent;
mod files;
mod flags;
mod image;
mod local_image;
mod log;
mod operation;
mod options;
mod queue;
mod request;
mod snapshot;
mod submission;
mod text;
mod version;

pub use bitmap::Bitmap;
pub use checkpoint::Checkpoint;
pub use cursor::Cursor;
pub use device::{Device, State};
pub use disk::Disk;
pub use error::{Error, Result};
pub use event::{Event, EventKind};
pub use extent::Extent;
pub use files::{check, check_with, create, create_over, CheckReport, CheckResult, Repair, Verdict};
pub use flags::Flags;
pub use image::Image;
pub use local_image::LocalImage;
pub use log::{clear_log, set_log, Level};
pub use operation::{Operation, Rejected};
pub use options::Options;
pub use queue::{Completion, Queue};
pub use request::Request;
pub use snapshot::Snapshot;
pub use version::{has_feature, version, Version, VERSION};

/// The programs of the README are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
