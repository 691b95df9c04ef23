//! What no program should do, by the functions of C: the safe crate does not let it happen.

use std::ffi::{c_char, c_int, c_void, CString};
use std::mem::size_of;
use std::path::Path;
use std::ptr::{null, null_mut, NonNull};

use qcow2blk_sys::*;

use crate::support::{start, Attached, Folder, EINVAL};

/// An image that is closed at the end of its test, whatever was tried with it.
pub struct RawImage(NonNull<qcow2blk_image>);

impl RawImage {
    pub fn as_ptr(&self) -> *mut qcow2blk_image {
        self.0.as_ptr()
    }
}

impl Drop for RawImage {
    fn drop(&mut self) {
        // SAFETY: a handle that is not open is an error.
        unsafe { qcow2blk_image_close(self.as_ptr(), 0) };
    }
}

pub fn raw_open(path: &Path, flags: u32) -> RawImage {
    let path = CString::new(path.to_str().expect("it is UTF-8")).expect("it has no NUL");
    let mut image = null_mut();
    // SAFETY: the path ends with a NUL, and the handle goes into our variable.
    let result = unsafe { qcow2blk_image_open(path.as_ptr(), null(), &mut image, flags) };
    assert_eq!(result, 0);
    RawImage(NonNull::new(image).expect("there is a handle"))
}

fn raw_options() -> *mut qcow2blk_options {
    let mut options = null_mut();
    // SAFETY: the handle goes into our variable.
    assert_eq!(unsafe { qcow2blk_options_create(&mut options, 0) }, 0);
    options
}

fn raw_queue() -> *mut qcow2blk_queue {
    let mut queue = null_mut();
    // SAFETY: the handle goes into our variable.
    assert_eq!(unsafe { qcow2blk_queue_create(&mut queue, 8, 0) }, 0);
    queue
}

unsafe extern "C" fn on_end(_: *mut c_void, _: i64) {}
unsafe extern "C" fn on_extent(_: *mut c_void, _: *const qcow2blk_extent) -> c_int {
    0
}
unsafe extern "C" fn on_snapshot(_: *mut c_void, _: *const qcow2blk_snapshot) -> c_int {
    0
}
unsafe extern "C" fn on_bitmap(_: *mut c_void, _: *const qcow2blk_bitmap) -> c_int {
    0
}
unsafe extern "C" fn on_checkpoint(_: *mut c_void, _: *const qcow2blk_checkpoint) -> c_int {
    0
}
unsafe extern "C" fn on_event(_: *mut c_void, _: *const qcow2blk_device_event) {}
unsafe extern "C" fn on_log(_: *mut c_void, _: c_int, _: *const c_char) {}

fn notify(queue: *mut qcow2blk_queue, callback: Option<qcow2blk_completion_fn>) -> qcow2blk_notify {
    let size = size_of::<qcow2blk_notify>() as u32;
    qcow2blk_notify { size, reserved: 0, queue, callback, user_data: null_mut() }
}

/// The results of each call that takes an image.
fn calls_of_image(image: *mut qcow2blk_image) -> Vec<(&'static str, i64)> {
    let mut bytes = [0_u8; 512];
    let buffer = bytes.as_mut_ptr().cast::<c_void>();
    let text = bytes.as_mut_ptr().cast::<c_char>();
    let iov = iovec { iov_base: buffer, iov_len: 512 };
    let name = c"one".as_ptr();
    let mut extent = qcow2blk_extent::default();
    let n = &notify(null_mut(), Some(on_end));
    // SAFETY: what else is given is valid; what is not a handle of an image is an error.
    unsafe {
        vec![
            ("size", qcow2blk_image_size(image)),
            ("cluster_size", qcow2blk_image_cluster_size(image)),
            ("is_read_only", qcow2blk_image_is_read_only(image).into()),
            ("format_version", qcow2blk_image_format_version(image).into()),
            ("backing_file", qcow2blk_image_backing_file(image, text, 512) as i64),
            ("info", qcow2blk_image_info(image, text, 512, 0) as i64),
            ("list_snapshots", qcow2blk_image_list_snapshots(image, Some(on_snapshot), null_mut(), 0).into()),
            ("pread", qcow2blk_image_pread(image, buffer, 512, 0, 0) as i64),
            ("pwrite", qcow2blk_image_pwrite(image, buffer, 512, 0, 0) as i64),
            ("preadv", qcow2blk_image_preadv(image, &iov, 1, 0, 0) as i64),
            ("pwritev", qcow2blk_image_pwritev(image, &iov, 1, 0, 0) as i64),
            ("flush", qcow2blk_image_flush(image, 0).into()),
            ("discard", qcow2blk_image_discard(image, 0, 512, 0).into()),
            ("write_zeroes", qcow2blk_image_write_zeroes(image, 0, 512, 0).into()),
            ("block_status", qcow2blk_image_block_status(image, 0, 512, Some(on_extent), null_mut(), 0).into()),
            ("resize", qcow2blk_image_resize(image, 512, 0).into()),
            ("create_snapshot", qcow2blk_image_create_snapshot(image, name, null_mut(), 0, 0).into()),
            ("delete_snapshot", qcow2blk_image_delete_snapshot(image, name, 0).into()),
            ("revert_snapshot", qcow2blk_image_revert_snapshot(image, name, 0).into()),
            ("add_bitmap", qcow2blk_image_add_bitmap(image, name, 0, 0).into()),
            ("remove_bitmap", qcow2blk_image_remove_bitmap(image, name, 0).into()),
            ("clear_bitmap", qcow2blk_image_clear_bitmap(image, name, 0).into()),
            ("enable_bitmap", qcow2blk_image_enable_bitmap(image, name, 0).into()),
            ("disable_bitmap", qcow2blk_image_disable_bitmap(image, name, 0).into()),
            ("merge_bitmap", qcow2blk_image_merge_bitmap(image, name, name, 0).into()),
            ("list_bitmaps", qcow2blk_image_list_bitmaps(image, Some(on_bitmap), null_mut(), 0).into()),
            ("bitmap_status", qcow2blk_image_bitmap_status(image, name, 0, 512, Some(on_extent), null_mut(), 0).into()),
            ("create_checkpoint", qcow2blk_image_create_checkpoint(image, name, 0, 0).into()),
            ("delete_checkpoint", qcow2blk_image_delete_checkpoint(image, name, 0).into()),
            ("list_checkpoints", qcow2blk_image_list_checkpoints(image, Some(on_checkpoint), null_mut(), 0).into()),
            ("aio_pread", qcow2blk_image_aio_pread(image, buffer, 512, 0, n, 0).into()),
            ("aio_pwrite", qcow2blk_image_aio_pwrite(image, buffer, 512, 0, n, 0).into()),
            ("aio_preadv", qcow2blk_image_aio_preadv(image, &iov, 1, 0, n, 0).into()),
            ("aio_pwritev", qcow2blk_image_aio_pwritev(image, &iov, 1, 0, n, 0).into()),
            ("aio_flush", qcow2blk_image_aio_flush(image, n, 0).into()),
            ("aio_discard", qcow2blk_image_aio_discard(image, 0, 512, n, 0).into()),
            ("aio_write_zeroes", qcow2blk_image_aio_write_zeroes(image, 0, 512, n, 0).into()),
            ("aio_block_status", qcow2blk_image_aio_block_status(image, 0, 512, &mut extent, 1, n, 0).into()),
            ("in_flight", qcow2blk_image_in_flight(image).into()),
            ("fd", qcow2blk_image_fd(image).into()),
            ("process", qcow2blk_image_process(image, 0).into()),
            ("close", qcow2blk_image_close(image, 0).into()),
        ]
    }
}

fn calls_of_device(device: *mut qcow2blk_device) -> Vec<(&'static str, i64)> {
    let mut bytes = [0_u8; 512];
    let text = bytes.as_mut_ptr().cast::<c_char>();
    let name = c"one".as_ptr();
    // SAFETY: what else is given is valid; what is not a handle of a device is an error.
    unsafe {
        vec![
            ("name", qcow2blk_device_name(device, text, 512) as i64),
            ("uri", qcow2blk_device_uri(device, text, 512) as i64),
            ("path", qcow2blk_device_path(device, text, 512) as i64),
            ("state", qcow2blk_device_state(device, 0).into()),
            ("status", qcow2blk_device_status(device, text, 512, 0) as i64),
            ("suspend", qcow2blk_device_suspend(device, 0, 0).into()),
            ("resume", qcow2blk_device_resume(device, 0, 0).into()),
            ("detach", qcow2blk_device_detach(device, 0, 0).into()),
            ("resize", qcow2blk_device_resize(device, 512, 0, 0).into()),
            ("create_snapshot", qcow2blk_device_create_snapshot(device, name, null_mut(), 0, 0, 0).into()),
            ("delete_snapshot", qcow2blk_device_delete_snapshot(device, name, 0, 0).into()),
            ("revert_snapshot", qcow2blk_device_revert_snapshot(device, name, 0, 0).into()),
            ("add_bitmap", qcow2blk_device_add_bitmap(device, name, 0, 0, 0).into()),
            ("remove_bitmap", qcow2blk_device_remove_bitmap(device, name, 0, 0).into()),
            ("clear_bitmap", qcow2blk_device_clear_bitmap(device, name, 0, 0).into()),
            ("enable_bitmap", qcow2blk_device_enable_bitmap(device, name, 0, 0).into()),
            ("disable_bitmap", qcow2blk_device_disable_bitmap(device, name, 0, 0).into()),
            ("merge_bitmap", qcow2blk_device_merge_bitmap(device, name, name, 0, 0).into()),
            ("list_bitmaps", qcow2blk_device_list_bitmaps(device, Some(on_bitmap), null_mut(), 0, 0).into()),
            ("create_checkpoint", qcow2blk_devices_create_checkpoint(&device, 1, name, 0, 0, 0).into()),
            ("delete_checkpoint", qcow2blk_device_delete_checkpoint(device, name, 0, 0).into()),
            (
                "list_checkpoints",
                qcow2blk_device_list_checkpoints(device, Some(on_checkpoint), null_mut(), 0, 0).into(),
            ),
            ("list_snapshots", qcow2blk_device_list_snapshots(device, Some(on_snapshot), null_mut(), 0, 0).into()),
            ("set_event_callback", qcow2blk_device_set_event_callback(device, Some(on_event), null_mut(), 0).into()),
            ("close", qcow2blk_device_close(device, 0).into()),
        ]
    }
}

fn calls_of_queue(queue: *mut qcow2blk_queue) -> Vec<(&'static str, i64)> {
    let mut completion = qcow2blk_completion { user_data: null_mut(), result: 0 };
    // SAFETY: what else is given is valid; what is not a handle of a queue is an error.
    unsafe {
        vec![
            ("fd", qcow2blk_queue_fd(queue).into()),
            ("wait", qcow2blk_queue_wait(queue, &mut completion, 1, 0, 0).into()),
            ("close", qcow2blk_queue_close(queue, 0).into()),
        ]
    }
}

fn calls_of_options(options: *mut qcow2blk_options) -> Vec<(&'static str, i64)> {
    let (name, value) = (c"read-only".as_ptr(), c"true".as_ptr());
    // SAFETY: what else is given is valid; what is not a handle of options is an error.
    unsafe {
        vec![
            ("set", qcow2blk_options_set(options, name, value, 0).into()),
            ("add_fd", qcow2blk_options_add_fd(options, 0, 0).into()),
            ("close", qcow2blk_options_close(options, 0).into()),
        ]
    }
}

fn assert_refused(what: &str, calls: Vec<(&'static str, i64)>) {
    for (name, result) in calls {
        assert_eq!(result, -i64::from(EINVAL), "{name} of {what}");
    }
}

#[test]
fn null_is_no_handle() {
    start();
    assert_refused("no image", calls_of_image(null_mut()));
    assert_refused("no device", calls_of_device(null_mut()));
    assert_refused("no queue", calls_of_queue(null_mut()));
    assert_refused("no options", calls_of_options(null_mut()));
}

#[test]
fn closed_handle_is_no_handle() {
    let folder = Folder::new();
    let image = raw_open(&folder.copy("plain.qcow2"), 0);
    let (options, queue) = (raw_options(), raw_queue());
    // SAFETY: the handles are open.
    unsafe {
        assert_eq!(qcow2blk_image_close(image.as_ptr(), 0), 0);
        assert_eq!(qcow2blk_options_close(options, 0), 0);
        assert_eq!(qcow2blk_queue_close(queue, 0), 0);
    }
    assert_refused("a closed image", calls_of_image(image.as_ptr()));
    assert_refused("closed options", calls_of_options(options));
    assert_refused("a closed queue", calls_of_queue(queue));
}

#[test]
fn closed_device_is_no_handle() {
    let attached = Attached::new("plain.qcow2", "t900-closed");
    let mut device = null_mut();
    // SAFETY: the target ends with a NUL, and the handle goes into our variable.
    assert_eq!(unsafe { qcow2blk_device_open(c"t900-closed".as_ptr(), &mut device, 0) }, 0);
    // SAFETY: the handle is open.
    assert_eq!(unsafe { qcow2blk_device_close(device, 0) }, 0);
    assert_refused("a closed device", calls_of_device(device));
    drop(attached);
}

#[test]
fn handle_of_another_kind_is_no_handle() {
    let folder = Folder::new();
    let image = raw_open(&folder.copy("plain.qcow2"), 0);
    let (options, queue) = (raw_options(), raw_queue());
    assert_refused("options", calls_of_image(options.cast()));
    assert_refused("a queue", calls_of_image(queue.cast()));
    assert_refused("an image", calls_of_device(image.as_ptr().cast()));
    assert_refused("options", calls_of_device(options.cast()));
    assert_refused("an image", calls_of_queue(image.as_ptr().cast()));
    assert_refused("an image", calls_of_options(image.as_ptr().cast()));
    assert_refused("a queue", calls_of_options(queue.cast()));
    // They are what they were.
    // SAFETY: the handles are open.
    unsafe {
        assert_eq!(qcow2blk_image_size(image.as_ptr()), 64 << 20);
        assert_eq!(qcow2blk_options_close(options, 0), 0);
        assert_eq!(qcow2blk_queue_close(queue, 0), 0);
    }
}

#[test]
fn memory_of_the_caller_is_no_handle() {
    start();
    let mut memory = [0x1234_5678_9abc_def0_u64; 64];
    let inside = memory.as_mut_ptr();
    assert_refused("memory", calls_of_image(inside.cast()));
    assert_refused("memory", calls_of_device(inside.cast()));
    assert_refused("memory", calls_of_queue(inside.cast()));
    assert_refused("memory", calls_of_options(inside.cast()));
    assert_refused("a small number", calls_of_image(1 as *mut qcow2blk_image));
    assert_eq!(memory, [0x1234_5678_9abc_def0; 64]);
}

#[test]
fn null_instead_of_an_argument_is_refused() {
    let folder = Folder::new();
    let image = raw_open(&folder.copy("plain.qcow2"), 0);
    let (options, queue) = (raw_options(), raw_queue());
    let i = image.as_ptr();
    let n = &notify(null_mut(), Some(on_end));
    let mut bytes = [0_u8; 512];
    let buffer = bytes.as_mut_ptr().cast::<c_void>();
    // SAFETY: what is given is valid or null, and null is an error.
    unsafe {
        let calls = vec![
            ("has_feature", qcow2blk_has_feature(null(), 0).into()),
            ("options_create", qcow2blk_options_create(null_mut(), 0).into()),
            ("options_set name", qcow2blk_options_set(options, null(), c"raw".as_ptr(), 0).into()),
            ("options_set value", qcow2blk_options_set(options, c"format".as_ptr(), null(), 0).into()),
            ("image_open path", qcow2blk_image_open(null(), null(), &mut null_mut(), 0).into()),
            ("image_open image", qcow2blk_image_open(c"x".as_ptr(), null(), null_mut(), 0).into()),
            ("backing_file", qcow2blk_image_backing_file(i, null_mut(), 10) as i64),
            ("info", qcow2blk_image_info(i, null_mut(), 10, 0) as i64),
            ("list_snapshots", qcow2blk_image_list_snapshots(i, None, null_mut(), 0).into()),
            ("pread", qcow2blk_image_pread(i, null_mut(), 512, 0, 0) as i64),
            ("pwrite", qcow2blk_image_pwrite(i, null(), 512, 0, 0) as i64),
            ("preadv", qcow2blk_image_preadv(i, null(), 1, 0, 0) as i64),
            ("pwritev", qcow2blk_image_pwritev(i, null(), 1, 0, 0) as i64),
            ("block_status", qcow2blk_image_block_status(i, 0, 512, None, null_mut(), 0).into()),
            ("queue_create", qcow2blk_queue_create(null_mut(), 8, 0).into()),
            ("queue_wait", qcow2blk_queue_wait(queue, null_mut(), 1, 0, 0).into()),
            ("aio_pread", qcow2blk_image_aio_pread(i, null_mut(), 512, 0, n, 0).into()),
            ("aio_pread notify", qcow2blk_image_aio_pread(i, buffer, 512, 0, null(), 0).into()),
            ("aio_pwrite notify", qcow2blk_image_aio_pwrite(i, buffer, 512, 0, null(), 0).into()),
            ("aio_flush notify", qcow2blk_image_aio_flush(i, null(), 0).into()),
            ("aio_block_status", qcow2blk_image_aio_block_status(i, 0, 512, null_mut(), 1, n, 0).into()),
            ("device_attach path", qcow2blk_device_attach(null(), options, &mut null_mut(), 0).into()),
            ("device_attach device", qcow2blk_device_attach(c"x".as_ptr(), options, null_mut(), 0).into()),
            ("device_open target", qcow2blk_device_open(null(), &mut null_mut(), 0).into()),
            ("device_open device", qcow2blk_device_open(c"x".as_ptr(), null_mut(), 0).into()),
        ];
        assert_refused("null", calls);
        assert_eq!(qcow2blk_queue_close(queue, 0), 0);
        assert_eq!(qcow2blk_options_close(options, 0), 0);
    }
}

#[test]
fn request_that_nobody_would_hear_of_is_refused() {
    let folder = Folder::new();
    let image = raw_open(&folder.copy("plain.qcow2"), 0);
    let (closed, options) = (raw_queue(), raw_options());
    let mut too_small = notify(null_mut(), Some(on_end));
    too_small.size = 8;
    // SAFETY: what is given is valid, or an error.
    unsafe {
        assert_eq!(qcow2blk_queue_close(closed, 0), 0);
        for (what, notify) in [
            ("neither queue nor callback", notify(null_mut(), None)),
            ("a queue that is closed", notify(closed, None)),
            ("options for a queue", notify(options.cast(), None)),
            ("a structure that is too small", too_small),
        ] {
            assert_eq!(qcow2blk_image_aio_flush(image.as_ptr(), &notify, 0), -EINVAL, "{what}");
        }
        assert_eq!(qcow2blk_image_in_flight(image.as_ptr()), 0);
        assert_eq!(qcow2blk_options_close(options, 0), 0);
    }
}

#[test]
fn unknown_flags_are_refused() {
    const FLAG: u32 = 1 << 30;
    let folder = Folder::new();
    let image = raw_open(&folder.copy("plain.qcow2"), 0);
    let (options, queue) = (raw_options(), raw_queue());
    let i = image.as_ptr();
    let n = &notify(null_mut(), Some(on_end));
    let mut bytes = [0_u8; 512];
    let (buffer, text) = (bytes.as_mut_ptr().cast::<c_void>(), bytes.as_mut_ptr().cast::<c_char>());
    let mut completion = qcow2blk_completion { user_data: null_mut(), result: 0 };
    // SAFETY: what is given is valid.
    unsafe {
        let calls = vec![
            ("has_feature", qcow2blk_has_feature(c"zstd".as_ptr(), FLAG).into()),
            ("set_log", qcow2blk_set_log(Some(on_log), null_mut(), QCOW2BLK_LOG_ERROR, FLAG).into()),
            ("set_log level", qcow2blk_set_log(Some(on_log), null_mut(), 99, 0).into()),
            ("options_create", qcow2blk_options_create(&mut null_mut(), FLAG).into()),
            ("options_set", qcow2blk_options_set(options, c"format".as_ptr(), c"raw".as_ptr(), FLAG).into()),
            ("options_add_fd", qcow2blk_options_add_fd(options, 0, FLAG).into()),
            ("options_set_key", qcow2blk_options_set_key(options, buffer, 1, FLAG).into()),
            ("create", qcow2blk_create(c"x".as_ptr(), 512, null(), FLAG).into()),
            ("check", qcow2blk_check(c"x".as_ptr(), null_mut(), None, null_mut(), FLAG).into()),
            ("image_open", qcow2blk_image_open(c"x".as_ptr(), null(), &mut null_mut(), FLAG).into()),
            ("create_snapshot", qcow2blk_image_create_snapshot(i, c"x".as_ptr(), null_mut(), 0, FLAG).into()),
            ("add_bitmap", qcow2blk_image_add_bitmap(i, c"x".as_ptr(), 0, FLAG).into()),
            ("clear_bitmap", qcow2blk_image_clear_bitmap(i, c"x".as_ptr(), FLAG).into()),
            ("create_checkpoint", qcow2blk_image_create_checkpoint(i, c"x".as_ptr(), 0, FLAG).into()),
            ("info", qcow2blk_image_info(i, text, 512, FLAG) as i64),
            ("list_snapshots", qcow2blk_image_list_snapshots(i, Some(on_snapshot), null_mut(), FLAG).into()),
            ("pread", qcow2blk_image_pread(i, buffer, 512, 0, FLAG) as i64),
            ("pread FUA", qcow2blk_image_pread(i, buffer, 512, 0, QCOW2BLK_FUA) as i64),
            ("pwrite", qcow2blk_image_pwrite(i, buffer, 512, 0, FLAG) as i64),
            ("flush", qcow2blk_image_flush(i, FLAG).into()),
            ("discard", qcow2blk_image_discard(i, 0, 512, FLAG).into()),
            ("write_zeroes", qcow2blk_image_write_zeroes(i, 0, 512, FLAG).into()),
            ("block_status", qcow2blk_image_block_status(i, 0, 512, Some(on_extent), null_mut(), FLAG).into()),
            ("queue_create", qcow2blk_queue_create(&mut null_mut(), 8, FLAG).into()),
            ("queue_wait", qcow2blk_queue_wait(queue, &mut completion, 1, 0, FLAG).into()),
            ("aio_pread", qcow2blk_image_aio_pread(i, buffer, 512, 0, n, FLAG).into()),
            ("aio_pwrite", qcow2blk_image_aio_pwrite(i, buffer, 512, 0, n, FLAG).into()),
            ("aio_flush", qcow2blk_image_aio_flush(i, n, FLAG).into()),
            ("device_attach", qcow2blk_device_attach(c"x".as_ptr(), options, &mut null_mut(), FLAG).into()),
            ("device_open", qcow2blk_device_open(c"x".as_ptr(), &mut null_mut(), FLAG).into()),
        ];
        assert_refused("an unknown flag", calls);
        assert_eq!(qcow2blk_queue_close(queue, 0), 0);
        assert_eq!(qcow2blk_options_close(options, 0), 0);
    }
}

#[test]
fn failed_open_leaves_null_in_the_handle() {
    start();
    let mut image = NonNull::<qcow2blk_image>::dangling().as_ptr();
    let mut device = NonNull::<qcow2blk_device>::dangling().as_ptr();
    // SAFETY: the names end with a NUL; the handles go into our variables.
    unsafe {
        assert!(qcow2blk_image_open(c"/no/such/file".as_ptr(), null(), &mut image, 0) < 0);
        assert!(qcow2blk_device_open(c"t900-nothing".as_ptr(), &mut device, 0) < 0);
    }
    assert!(image.is_null() && device.is_null());
}

/// As snprintf does it: the whole length, and as much as there is room for.
#[test]
fn short_buffers_get_what_fits_and_a_nul() {
    let folder = Folder::new();
    folder.copy("base.qcow2");
    let image = raw_open(&folder.copy("overlay.qcow2"), 0);
    let mut buffer = [0x7f_u8; 16];
    // SAFETY: the image is open, and the buffer is longer than it says.
    let length = unsafe { qcow2blk_image_backing_file(image.as_ptr(), buffer.as_mut_ptr().cast(), 5) };
    assert_eq!(length as usize, "base.qcow2".len());
    assert_eq!(&buffer[..6], b"base\0\x7f");
    // SAFETY: the image is open; no buffer is needed to learn the length.
    assert_eq!(unsafe { qcow2blk_image_backing_file(image.as_ptr(), null_mut(), 0) }, length);
    let fits = buffer.len();
    // SAFETY: the image is open, and the buffer is as long as it says.
    unsafe { qcow2blk_image_backing_file(image.as_ptr(), buffer.as_mut_ptr().cast(), fits) };
    assert_eq!(&buffer[..11], b"base.qcow2\0");
}
