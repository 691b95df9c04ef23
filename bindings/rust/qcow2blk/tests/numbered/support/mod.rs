//! What the tests share.

mod attached;
mod executor;
mod folder;
mod poll;
mod qemu;

pub use attached::Attached;
pub use executor::block_on;
pub use folder::{start, Folder};
pub use poll::{is_readable, wait_readable};
pub use qemu::{assert_pattern, assert_pattern_at_uri, qemu_img, qemu_io};

use std::time::{Duration, Instant};

/// How a test ends.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const CLUSTER: u64 = 64 * KIB;

pub const EPERM: i32 = 1;
pub const ENOENT: i32 = 2;
pub const EIO: i32 = 5;
pub const EEXIST: i32 = 17;
pub const EAGAIN: i32 = 11;
pub const EBUSY: i32 = 16;
pub const ENODEV: i32 = 19;
pub const EINVAL: i32 = 22;
pub const EROFS: i32 = 30;
pub const ERANGE: i32 = 34;
pub const EDEADLK: i32 = 35;
pub const EILSEQ: i32 = 84;
pub const EOPNOTSUPP: i32 = 95;
pub const EUCLEAN: i32 = 117;
pub const ECANCELED: i32 = 125;

/// The errno of what must fail.
pub fn errno_of<T: std::fmt::Debug>(result: qcow2blk::Result<T>) -> i32 {
    result.expect_err("it must fail").errno()
}

/// Looks again and again, as what another thread does takes its time.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "not within 20 seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Numbers that look like chance and are the same in each run.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// What plain.qcow2 holds from an offset on.
pub fn plain(offset: u64, length: usize) -> Vec<u8> {
    (offset..offset + length as u64).map(|at| if at < 4 * MIB { (at / CLUSTER) as u8 + 1 } else { 0 }).collect()
}
