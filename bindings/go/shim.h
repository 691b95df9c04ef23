/* SPDX-License-Identifier: MIT
 *
 * What Go calls instead of the functions of qcow2blk.h.
 *
 * Each function calls the one of its name and takes the error text in the same C call: between two calls a goroutine
 * may move to another thread, where qcow2blk_last_error() says something else. Handles are numbers here: what Go has as a
 * pointer must be one, and the library does not promise that a handle is.
 */
#ifndef QCOW2BLK_GO_SHIM_H
#define QCOW2BLK_GO_SHIM_H

#include <qcow2blk.h>
#include <stdlib.h>

/* A result, and if it is negative the text of the error, to be freed; NULL if the library left none. */
typedef struct {
  int64_t value;
  char *message;
} q2_result;

/* Library, log and options. */
q2_result q2_has_feature (const char *name);
q2_result q2_set_log (int on, int level);
q2_result q2_options_create (uintptr_t *options);
q2_result q2_options_set (uintptr_t options, const char *name, const char *value);
q2_result q2_options_add_fd (uintptr_t options, int fd);
q2_result q2_options_set_key (uintptr_t options, const void *key, size_t length);
q2_result q2_options_close (uintptr_t options);

/* Image files. */
q2_result q2_create (const char *path, int64_t size, uintptr_t options, uint32_t flags);
q2_result q2_check (const char *path, struct qcow2blk_check_result *result, uintptr_t told, uint32_t flags);

/* Images. */
q2_result q2_image_open (const char *path, uintptr_t options, uintptr_t *image, uint32_t flags);
q2_result q2_image_close (uintptr_t image);
q2_result q2_image_size (uintptr_t image);
q2_result q2_image_cluster_size (uintptr_t image);
q2_result q2_image_is_read_only (uintptr_t image);
q2_result q2_image_format_version (uintptr_t image);
q2_result q2_image_backing_file (uintptr_t image, char *buffer, size_t size);
q2_result q2_image_info (uintptr_t image, char *buffer, size_t size);
q2_result q2_image_list_snapshots (uintptr_t image, uintptr_t walk);
q2_result q2_image_in_flight (uintptr_t image);
q2_result q2_image_fd (uintptr_t image);
q2_result q2_image_process (uintptr_t image);

/* Synchronous I/O. Vectors lie one after the other in one buffer: an array of Go's pointers must not be passed to C. */
q2_result q2_image_pread (uintptr_t image, void *buffer, size_t count, uint64_t offset);
q2_result q2_image_pwrite (uintptr_t image, const void *buffer, size_t count, uint64_t offset, uint32_t flags);
q2_result q2_image_preadv (uintptr_t image, void *base, const size_t *lengths, int count, uint64_t offset);
q2_result q2_image_pwritev (uintptr_t image, void *base, const size_t *lengths, int count, uint64_t offset,
                            uint32_t flags);
q2_result q2_image_flush (uintptr_t image);
q2_result q2_image_discard (uintptr_t image, uint64_t offset, uint64_t length, uint32_t flags);
q2_result q2_image_write_zeroes (uintptr_t image, uint64_t offset, uint64_t length, uint32_t flags);
q2_result q2_image_block_status (uintptr_t image, uint64_t offset, uint64_t length, uintptr_t walk);

/* Snapshots, bitmaps and checkpoints of images. */
q2_result q2_image_resize (uintptr_t image, uint64_t size, uint32_t flags);
q2_result q2_image_create_snapshot (uintptr_t image, const char *name, char *id, size_t size);
q2_result q2_image_delete_snapshot (uintptr_t image, const char *snapshot);
q2_result q2_image_revert_snapshot (uintptr_t image, const char *snapshot);
q2_result q2_image_list_bitmaps (uintptr_t image, uintptr_t walk);
q2_result q2_image_add_bitmap (uintptr_t image, const char *name, uint64_t granularity, uint32_t flags);
q2_result q2_image_remove_bitmap (uintptr_t image, const char *name);
q2_result q2_image_clear_bitmap (uintptr_t image, const char *name);
q2_result q2_image_enable_bitmap (uintptr_t image, const char *name);
q2_result q2_image_disable_bitmap (uintptr_t image, const char *name);
q2_result q2_image_merge_bitmap (uintptr_t image, const char *name, const char *from);
q2_result q2_image_bitmap_status (uintptr_t image, const char *name, uint64_t offset, uint64_t length, uintptr_t walk);
q2_result q2_image_list_checkpoints (uintptr_t image, uintptr_t walk);
q2_result q2_image_create_checkpoint (uintptr_t image, const char *name, uint64_t granularity);
q2_result q2_image_delete_checkpoint (uintptr_t image, const char *name);

/* Asynchronous I/O. The end of a request comes through queue, or calls goCompleted if queue is 0; token says which. */
q2_result q2_queue_create (uintptr_t *queue, uint32_t depth);
q2_result q2_queue_fd (uintptr_t queue);
q2_result q2_queue_wait (uintptr_t queue, struct qcow2blk_completion *completions, uint32_t max, int timeout);
q2_result q2_queue_close (uintptr_t queue);
q2_result q2_aio_pread (uintptr_t image, void *buffer, size_t count, uint64_t offset, uintptr_t queue, uintptr_t token);
q2_result q2_aio_pwrite (uintptr_t image, const void *buffer, size_t count, uint64_t offset, uintptr_t queue,
                         uintptr_t token, uint32_t flags);
q2_result q2_aio_preadv (uintptr_t image, void *base, const size_t *lengths, int count, uint64_t offset,
                         uintptr_t queue, uintptr_t token);
q2_result q2_aio_pwritev (uintptr_t image, void *base, const size_t *lengths, int count, uint64_t offset,
                          uintptr_t queue, uintptr_t token, uint32_t flags);
q2_result q2_aio_flush (uintptr_t image, uintptr_t queue, uintptr_t token);
q2_result q2_aio_discard (uintptr_t image, uint64_t offset, uint64_t length, uintptr_t queue, uintptr_t token,
                          uint32_t flags);
q2_result q2_aio_write_zeroes (uintptr_t image, uint64_t offset, uint64_t length, uintptr_t queue, uintptr_t token,
                               uint32_t flags);
q2_result q2_aio_block_status (uintptr_t image, uint64_t offset, uint64_t length, struct qcow2blk_extent *extents,
                               uint32_t max, uintptr_t queue, uintptr_t token);

/* Devices. */
q2_result q2_device_attach (const char *path, uintptr_t options, uintptr_t *device);
q2_result q2_device_open (const char *target, uintptr_t *device);
q2_result q2_device_name (uintptr_t device, char *buffer, size_t size);
q2_result q2_device_uri (uintptr_t device, char *buffer, size_t size);
q2_result q2_device_path (uintptr_t device, char *buffer, size_t size);
q2_result q2_device_state (uintptr_t device);
q2_result q2_device_status (uintptr_t device, char *buffer, size_t size);
q2_result q2_device_suspend (uintptr_t device, int timeout);
q2_result q2_device_resume (uintptr_t device, int timeout, uint32_t flags);
q2_result q2_device_detach (uintptr_t device, int timeout, uint32_t flags);
q2_result q2_device_set_event_callback (uintptr_t device, uintptr_t sink);
q2_result q2_device_close (uintptr_t device);
q2_result q2_device_resize (uintptr_t device, uint64_t size, int timeout, uint32_t flags);
q2_result q2_device_list_snapshots (uintptr_t device, uintptr_t walk, int timeout);
q2_result q2_device_create_snapshot (uintptr_t device, const char *name, char *id, size_t size, int timeout);
q2_result q2_device_delete_snapshot (uintptr_t device, const char *snapshot, int timeout);
q2_result q2_device_revert_snapshot (uintptr_t device, const char *snapshot, int timeout, uint32_t flags);
q2_result q2_device_list_bitmaps (uintptr_t device, uintptr_t walk, int timeout);
q2_result q2_device_add_bitmap (uintptr_t device, const char *name, uint64_t granularity, int timeout, uint32_t flags);
q2_result q2_device_remove_bitmap (uintptr_t device, const char *name, int timeout);
q2_result q2_device_clear_bitmap (uintptr_t device, const char *name, int timeout);
q2_result q2_device_enable_bitmap (uintptr_t device, const char *name, int timeout);
q2_result q2_device_disable_bitmap (uintptr_t device, const char *name, int timeout);
q2_result q2_device_merge_bitmap (uintptr_t device, const char *name, const char *from, int timeout);
q2_result q2_device_list_checkpoints (uintptr_t device, uintptr_t walk, int timeout);
q2_result q2_devices_create_checkpoint (uintptr_t *devices, size_t count, const char *name, uint64_t granularity, int timeout);
q2_result q2_device_delete_checkpoint (uintptr_t device, const char *name, int timeout);

#endif
