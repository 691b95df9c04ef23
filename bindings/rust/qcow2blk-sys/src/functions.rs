//! The functions, in the order of the header.

use std::ffi::{c_char, c_int, c_void};

use crate::callbacks::*;
use crate::types::*;

extern "C" {
    /// The version of the library that is loaded.
    pub fn qcow2blk_version() -> u32;

    /// Whether the library, on this machine, can do something.
    pub fn qcow2blk_has_feature(name: *const c_char, flags: u32) -> c_int;

    /// What went wrong in the last call of this thread that failed.
    pub fn qcow2blk_last_error() -> *const c_char;

    /// The errno of the last call of this thread that failed.
    pub fn qcow2blk_last_errno() -> c_int;

    /// Hear what the library has to say that no result tells.
    pub fn qcow2blk_set_log(
        callback: Option<qcow2blk_log_fn>,
        user_data: *mut c_void,
        level: c_int,
        flags: u32,
    ) -> c_int;

    /// Begin a set of options.
    pub fn qcow2blk_options_create(options: *mut *mut qcow2blk_options, flags: u32) -> c_int;

    /// Set an option by name and text.
    pub fn qcow2blk_options_set(
        options: *mut qcow2blk_options,
        name: *const c_char,
        value: *const c_char,
        flags: u32,
    ) -> c_int;

    /// Give an open file of the backing chain.
    pub fn qcow2blk_options_add_fd(options: *mut qcow2blk_options, fd: c_int, flags: u32) -> c_int;

    /// Give the key of an encrypted image.
    pub fn qcow2blk_options_set_key(
        options: *mut qcow2blk_options,
        key: *const c_void,
        length: usize,
        flags: u32,
    ) -> c_int;

    /// End a set of options.
    pub fn qcow2blk_options_close(options: *mut qcow2blk_options, flags: u32) -> c_int;

    /// Make an image.
    pub fn qcow2blk_create(path: *const c_char, size: i64, options: *const qcow2blk_options, flags: u32) -> c_int;

    /// Check the metadata of an image file, and repair it.
    pub fn qcow2blk_check(
        path: *const c_char,
        result: *mut qcow2blk_check_result,
        callback: Option<qcow2blk_check_fn>,
        user_data: *mut c_void,
        flags: u32,
    ) -> c_int;

    /// Open an image and all its backing files.
    pub fn qcow2blk_image_open(
        path: *const c_char,
        options: *const qcow2blk_options,
        image: *mut *mut qcow2blk_image,
        flags: u32,
    ) -> c_int;

    /// End all requests, write everything down and close the image.
    pub fn qcow2blk_image_close(image: *mut qcow2blk_image, flags: u32) -> c_int;

    /// How large the virtual disk is.
    pub fn qcow2blk_image_size(image: *mut qcow2blk_image) -> i64;

    /// How large the unit is that the image allocates.
    pub fn qcow2blk_image_cluster_size(image: *mut qcow2blk_image) -> i64;

    /// Whether writes are refused with -EROFS.
    pub fn qcow2blk_image_is_read_only(image: *mut qcow2blk_image) -> c_int;

    /// Which version of the qcow2 format the image has.
    pub fn qcow2blk_image_format_version(image: *mut qcow2blk_image) -> c_int;

    /// The name of the backing file, as the image says it.
    pub fn qcow2blk_image_backing_file(image: *mut qcow2blk_image, buffer: *mut c_char, size: usize) -> isize;

    /// All that is known of the open image, as a JSON object.
    pub fn qcow2blk_image_info(image: *mut qcow2blk_image, buffer: *mut c_char, size: usize, flags: u32) -> isize;

    /// Tell of the internal snapshots, in the order of the image.
    pub fn qcow2blk_image_list_snapshots(
        image: *mut qcow2blk_image,
        callback: Option<qcow2blk_snapshot_fn>,
        user_data: *mut c_void,
        flags: u32,
    ) -> c_int;

    /// Read.
    pub fn qcow2blk_image_pread(
        image: *mut qcow2blk_image,
        buffer: *mut c_void,
        count: usize,
        offset: u64,
        flags: u32,
    ) -> isize;

    /// Write.
    pub fn qcow2blk_image_pwrite(
        image: *mut qcow2blk_image,
        buffer: *const c_void,
        count: usize,
        offset: u64,
        flags: u32,
    ) -> isize;

    /// Read into several buffers.
    pub fn qcow2blk_image_preadv(
        image: *mut qcow2blk_image,
        iov: *const iovec,
        iovcnt: c_int,
        offset: u64,
        flags: u32,
    ) -> isize;

    /// Write from several buffers.
    pub fn qcow2blk_image_pwritev(
        image: *mut qcow2blk_image,
        iov: *const iovec,
        iovcnt: c_int,
        offset: u64,
        flags: u32,
    ) -> isize;

    /// Make everything that was written survive a loss of power.
    pub fn qcow2blk_image_flush(image: *mut qcow2blk_image, flags: u32) -> c_int;

    /// Free the clusters inside a range.
    pub fn qcow2blk_image_discard(image: *mut qcow2blk_image, offset: u64, length: u64, flags: u32) -> c_int;

    /// Make a range read as zeroes, by the cheapest means.
    pub fn qcow2blk_image_write_zeroes(image: *mut qcow2blk_image, offset: u64, length: u64, flags: u32) -> c_int;

    /// Tell what a range of the disk holds.
    pub fn qcow2blk_image_block_status(
        image: *mut qcow2blk_image,
        offset: u64,
        length: u64,
        callback: Option<qcow2blk_extent_fn>,
        user_data: *mut c_void,
        flags: u32,
    ) -> c_int;

    /// Give the disk another size.
    pub fn qcow2blk_image_resize(image: *mut qcow2blk_image, size: u64, flags: u32) -> c_int;

    /// Keep the disk as it is now.
    pub fn qcow2blk_image_create_snapshot(
        image: *mut qcow2blk_image,
        name: *const c_char,
        id: *mut c_char,
        size: usize,
        flags: u32,
    ) -> c_int;

    /// Forget a snapshot.
    pub fn qcow2blk_image_delete_snapshot(image: *mut qcow2blk_image, snapshot: *const c_char, flags: u32) -> c_int;

    /// Make the disk what it was when a snapshot was made.
    pub fn qcow2blk_image_revert_snapshot(image: *mut qcow2blk_image, snapshot: *const c_char, flags: u32) -> c_int;

    /// Tell of the persistent bitmaps, in the order of the image.
    pub fn qcow2blk_image_list_bitmaps(
        image: *mut qcow2blk_image,
        callback: Option<qcow2blk_bitmap_fn>,
        user_data: *mut c_void,
        flags: u32,
    ) -> c_int;

    /// Add a persistent bitmap.
    pub fn qcow2blk_image_add_bitmap(
        image: *mut qcow2blk_image,
        name: *const c_char,
        granularity: u64,
        flags: u32,
    ) -> c_int;

    /// Remove a bitmap.
    pub fn qcow2blk_image_remove_bitmap(image: *mut qcow2blk_image, name: *const c_char, flags: u32) -> c_int;

    /// Clear every bit of a bitmap.
    pub fn qcow2blk_image_clear_bitmap(image: *mut qcow2blk_image, name: *const c_char, flags: u32) -> c_int;

    /// Have a bitmap record from now on.
    pub fn qcow2blk_image_enable_bitmap(image: *mut qcow2blk_image, name: *const c_char, flags: u32) -> c_int;

    /// Have a bitmap stay as it is now.
    pub fn qcow2blk_image_disable_bitmap(image: *mut qcow2blk_image, name: *const c_char, flags: u32) -> c_int;

    /// Add the bits of one bitmap to another.
    pub fn qcow2blk_image_merge_bitmap(
        image: *mut qcow2blk_image,
        name: *const c_char,
        from: *const c_char,
        flags: u32,
    ) -> c_int;

    /// Tell what a bitmap says of a range of the disk.
    pub fn qcow2blk_image_bitmap_status(
        image: *mut qcow2blk_image,
        name: *const c_char,
        offset: u64,
        length: u64,
        callback: Option<qcow2blk_extent_fn>,
        user_data: *mut c_void,
        flags: u32,
    ) -> c_int;

    /// Tell of the checkpoints, the oldest first.
    pub fn qcow2blk_image_list_checkpoints(
        image: *mut qcow2blk_image,
        callback: Option<qcow2blk_checkpoint_fn>,
        user_data: *mut c_void,
        flags: u32,
    ) -> c_int;

    /// Keep the disk as it is now, and record what changes from now on.
    pub fn qcow2blk_image_create_checkpoint(
        image: *mut qcow2blk_image,
        name: *const c_char,
        granularity: u64,
        flags: u32,
    ) -> c_int;

    /// Forget a checkpoint.
    pub fn qcow2blk_image_delete_checkpoint(image: *mut qcow2blk_image, name: *const c_char, flags: u32) -> c_int;

    /// Make a queue for completions.
    pub fn qcow2blk_queue_create(queue: *mut *mut qcow2blk_queue, depth: u32, flags: u32) -> c_int;

    /// A descriptor that is readable while completions wait.
    pub fn qcow2blk_queue_fd(queue: *mut qcow2blk_queue) -> c_int;

    /// Fetch completions.
    pub fn qcow2blk_queue_wait(
        queue: *mut qcow2blk_queue,
        completions: *mut qcow2blk_completion,
        max: u32,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// End a queue.
    pub fn qcow2blk_queue_close(queue: *mut qcow2blk_queue, flags: u32) -> c_int;

    /// Begin to read.
    pub fn qcow2blk_image_aio_pread(
        image: *mut qcow2blk_image,
        buffer: *mut c_void,
        count: usize,
        offset: u64,
        notify: *const qcow2blk_notify,
        flags: u32,
    ) -> c_int;

    /// Begin to write.
    pub fn qcow2blk_image_aio_pwrite(
        image: *mut qcow2blk_image,
        buffer: *const c_void,
        count: usize,
        offset: u64,
        notify: *const qcow2blk_notify,
        flags: u32,
    ) -> c_int;

    /// Begin to read into several buffers.
    pub fn qcow2blk_image_aio_preadv(
        image: *mut qcow2blk_image,
        iov: *const iovec,
        iovcnt: c_int,
        offset: u64,
        notify: *const qcow2blk_notify,
        flags: u32,
    ) -> c_int;

    /// Begin to write from several buffers.
    pub fn qcow2blk_image_aio_pwritev(
        image: *mut qcow2blk_image,
        iov: *const iovec,
        iovcnt: c_int,
        offset: u64,
        notify: *const qcow2blk_notify,
        flags: u32,
    ) -> c_int;

    /// Begin to flush.
    pub fn qcow2blk_image_aio_flush(image: *mut qcow2blk_image, notify: *const qcow2blk_notify, flags: u32) -> c_int;

    /// Begin to discard.
    pub fn qcow2blk_image_aio_discard(
        image: *mut qcow2blk_image,
        offset: u64,
        length: u64,
        notify: *const qcow2blk_notify,
        flags: u32,
    ) -> c_int;

    /// Begin to write zeroes.
    pub fn qcow2blk_image_aio_write_zeroes(
        image: *mut qcow2blk_image,
        offset: u64,
        length: u64,
        notify: *const qcow2blk_notify,
        flags: u32,
    ) -> c_int;

    /// Begin to find out what a range of the disk holds.
    pub fn qcow2blk_image_aio_block_status(
        image: *mut qcow2blk_image,
        offset: u64,
        length: u64,
        extents: *mut qcow2blk_extent,
        max: u32,
        notify: *const qcow2blk_notify,
        flags: u32,
    ) -> c_int;

    /// How many asynchronous requests have not ended.
    pub fn qcow2blk_image_in_flight(image: *mut qcow2blk_image) -> c_int;

    /// A descriptor that is readable when the image has something to do.
    pub fn qcow2blk_image_fd(image: *mut qcow2blk_image) -> c_int;

    /// Do what there is to do, without waiting.
    pub fn qcow2blk_image_process(image: *mut qcow2blk_image, flags: u32) -> c_int;

    /// Open an image and serve it as a block device or over NBD.
    pub fn qcow2blk_device_attach(
        path: *const c_char,
        options: *const qcow2blk_options,
        device: *mut *mut qcow2blk_device,
        flags: u32,
    ) -> c_int;

    /// Get a handle of a device that is attached already.
    pub fn qcow2blk_device_open(target: *const c_char, device: *mut *mut qcow2blk_device, flags: u32) -> c_int;

    /// The name of the device.
    pub fn qcow2blk_device_name(device: *mut qcow2blk_device, buffer: *mut c_char, size: usize) -> isize;

    /// The NBD URI that clients connect to.
    pub fn qcow2blk_device_uri(device: *mut qcow2blk_device, buffer: *mut c_char, size: usize) -> isize;

    /// The node of the block device, such as /dev/ublkb0.
    pub fn qcow2blk_device_path(device: *mut qcow2blk_device, buffer: *mut c_char, size: usize) -> isize;

    /// What the device is doing.
    pub fn qcow2blk_device_state(device: *mut qcow2blk_device, flags: u32) -> c_int;

    /// What "qcow2blk status --json" says of the device.
    pub fn qcow2blk_device_status(device: *mut qcow2blk_device, buffer: *mut c_char, size: usize, flags: u32) -> isize;

    /// Hold all requests and leave a closed, consistent image file.
    pub fn qcow2blk_device_suspend(device: *mut qcow2blk_device, timeout: c_int, flags: u32) -> c_int;

    /// Open the image again, as it is now, and continue the requests.
    pub fn qcow2blk_device_resume(device: *mut qcow2blk_device, timeout: c_int, flags: u32) -> c_int;

    /// Write everything down and end the device.
    pub fn qcow2blk_device_detach(device: *mut qcow2blk_device, timeout: c_int, flags: u32) -> c_int;

    /// Hear what happens to a device.
    pub fn qcow2blk_device_set_event_callback(
        device: *mut qcow2blk_device,
        callback: Option<qcow2blk_event_fn>,
        user_data: *mut c_void,
        flags: u32,
    ) -> c_int;

    /// Let go of a device.
    pub fn qcow2blk_device_close(device: *mut qcow2blk_device, flags: u32) -> c_int;

    /// Give the disk of a device another size.
    pub fn qcow2blk_device_resize(device: *mut qcow2blk_device, size: u64, timeout: c_int, flags: u32) -> c_int;

    /// Tell of the internal snapshots of a device.
    pub fn qcow2blk_device_list_snapshots(
        device: *mut qcow2blk_device,
        callback: Option<qcow2blk_snapshot_fn>,
        user_data: *mut c_void,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Keep the disk of a device as it is now.
    pub fn qcow2blk_device_create_snapshot(
        device: *mut qcow2blk_device,
        name: *const c_char,
        id: *mut c_char,
        size: usize,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Forget a snapshot of a device.
    pub fn qcow2blk_device_delete_snapshot(
        device: *mut qcow2blk_device,
        snapshot: *const c_char,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Make the disk of a device what it was when a snapshot was made.
    pub fn qcow2blk_device_revert_snapshot(
        device: *mut qcow2blk_device,
        snapshot: *const c_char,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Tell of the persistent bitmaps of a device.
    pub fn qcow2blk_device_list_bitmaps(
        device: *mut qcow2blk_device,
        callback: Option<qcow2blk_bitmap_fn>,
        user_data: *mut c_void,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Add a persistent bitmap to the image of a device.
    pub fn qcow2blk_device_add_bitmap(
        device: *mut qcow2blk_device,
        name: *const c_char,
        granularity: u64,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Remove a bitmap of a device.
    pub fn qcow2blk_device_remove_bitmap(
        device: *mut qcow2blk_device,
        name: *const c_char,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Clear every bit of a bitmap of a device.
    pub fn qcow2blk_device_clear_bitmap(
        device: *mut qcow2blk_device,
        name: *const c_char,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Have a bitmap of a device record from now on.
    pub fn qcow2blk_device_enable_bitmap(
        device: *mut qcow2blk_device,
        name: *const c_char,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Have a bitmap of a device stay as it is now.
    pub fn qcow2blk_device_disable_bitmap(
        device: *mut qcow2blk_device,
        name: *const c_char,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Add the bits of one bitmap of a device to another.
    pub fn qcow2blk_device_merge_bitmap(
        device: *mut qcow2blk_device,
        name: *const c_char,
        from: *const c_char,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Tell of the checkpoints of a device, the oldest first.
    pub fn qcow2blk_device_list_checkpoints(
        device: *mut qcow2blk_device,
        callback: Option<qcow2blk_checkpoint_fn>,
        user_data: *mut c_void,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Make a checkpoint of one or several devices, of one instant.
    pub fn qcow2blk_devices_create_checkpoint(
        devices: *const *mut qcow2blk_device,
        count: usize,
        name: *const c_char,
        granularity: u64,
        timeout: c_int,
        flags: u32,
    ) -> c_int;

    /// Forget a checkpoint of a device.
    pub fn qcow2blk_device_delete_checkpoint(
        device: *mut qcow2blk_device,
        name: *const c_char,
        timeout: c_int,
        flags: u32,
    ) -> c_int;
}
