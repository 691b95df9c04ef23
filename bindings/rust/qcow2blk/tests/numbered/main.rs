//! The tests of the library, with the numbers that they have in each language. Their images are those that
//! `tests/abi/make-images.sh` makes, in the folder that `QCOW2BLK_TEST_IMAGES` names.

mod complete;
mod examples;
mod support;

mod t010_version;
mod t020_errors;
mod t030_options;
mod t100_open_close;
mod t110_open_errors;
mod t120_info;
mod t130_snapshots;
mod t140_descriptors;
mod t150_create;
mod t160_check;
mod t200_pread;
mod t210_pwrite;
mod t220_vectors;
mod t230_flush;
mod t240_discard;
mod t250_write_zeroes;
mod t260_block_status;
mod t270_snapshots;
mod t280_bitmaps;
mod t285_checkpoints;
mod t290_resize;
mod t300_aio_pread;
mod t310_aio_pwrite;
mod t320_aio_vectors;
mod t330_aio_flush_discard_zeroes;
mod t340_aio_block_status;
mod t350_queue;
mod t360_callback;
mod t370_caller_loop;
mod t380_close_cancels;
mod t400_attach;
mod t410_suspend_resume;
mod t420_status;
mod t430_detach;
mod t440_events;
mod t450_device_open;
mod t460_device_edits;
mod t465_device_checkpoints;
mod t500_log;
mod t900_misuse;
mod t950_threads;
