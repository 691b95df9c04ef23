//! The library that is installed has every function that this crate declares.

use qcow2blk_sys::*;

/// Takes the address of each function, so that this test cannot be linked if one is missing.
macro_rules! addresses {
    ($($function:ident),* $(,)?) => { [$((stringify!($function), $function as *const ())),*] };
}

#[test]
fn all_functions_are_exported_and_are_different() {
    let functions = addresses![
        qcow2blk_version,
        qcow2blk_has_feature,
        qcow2blk_last_error,
        qcow2blk_last_errno,
        qcow2blk_set_log,
        qcow2blk_options_create,
        qcow2blk_options_set,
        qcow2blk_options_add_fd,
        qcow2blk_options_close,
        qcow2blk_image_open,
        qcow2blk_image_close,
        qcow2blk_image_size,
        qcow2blk_image_cluster_size,
        qcow2blk_image_is_read_only,
        qcow2blk_image_format_version,
        qcow2blk_image_backing_file,
        qcow2blk_image_info,
        qcow2blk_image_list_snapshots,
        qcow2blk_image_pread,
        qcow2blk_image_pwrite,
        qcow2blk_image_preadv,
        qcow2blk_image_pwritev,
        qcow2blk_image_flush,
        qcow2blk_image_discard,
        qcow2blk_image_write_zeroes,
        qcow2blk_image_block_status,
        qcow2blk_queue_create,
        qcow2blk_queue_fd,
        qcow2blk_queue_wait,
        qcow2blk_queue_close,
        qcow2blk_image_aio_pread,
        qcow2blk_image_aio_pwrite,
        qcow2blk_image_aio_preadv,
        qcow2blk_image_aio_pwritev,
        qcow2blk_image_aio_flush,
        qcow2blk_image_aio_discard,
        qcow2blk_image_aio_write_zeroes,
        qcow2blk_image_aio_block_status,
        qcow2blk_image_in_flight,
        qcow2blk_image_fd,
        qcow2blk_image_process,
        qcow2blk_device_attach,
        qcow2blk_device_open,
        qcow2blk_device_name,
        qcow2blk_device_uri,
        qcow2blk_device_path,
        qcow2blk_device_state,
        qcow2blk_device_status,
        qcow2blk_device_suspend,
        qcow2blk_device_resume,
        qcow2blk_device_detach,
        qcow2blk_device_set_event_callback,
        qcow2blk_device_close,
    ];
    let mut addresses: Vec<usize> = functions.iter().map(|(_, address)| *address as usize).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 53, "{functions:?}");
}
