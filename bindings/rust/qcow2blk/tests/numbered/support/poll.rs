//! poll(2), for one descriptor.

use std::ffi::{c_int, c_short, c_ulong};
use std::os::fd::{AsFd, AsRawFd};

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}

const POLLIN: c_short = 1;

extern "C" {
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
}

pub fn is_readable(file: &impl AsFd) -> bool {
    readable_within(file, 0)
}

pub fn wait_readable(file: &impl AsFd) {
    assert!(readable_within(file, 20_000), "not readable within 20 seconds");
}

fn readable_within(file: &impl AsFd, milliseconds: c_int) -> bool {
    let mut entry = PollFd { fd: file.as_fd().as_raw_fd(), events: POLLIN, revents: 0 };
    // SAFETY: one entry is given, and it is ours.
    let count = unsafe { poll(&mut entry, 1, milliseconds) };
    assert!(count >= 0, "poll failed: {}", std::io::Error::last_os_error());
    entry.revents & POLLIN != 0
}
