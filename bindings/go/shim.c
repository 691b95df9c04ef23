/* SPDX-License-Identifier: MIT */
#include "shim.h"

#include <string.h>

#include "_cgo_export.h"

#define IMAGE(number) ((qcow2blk_image *) (number))
#define OPTIONS(number) ((qcow2blk_options *) (number))
#define QUEUE(number) ((qcow2blk_queue *) (number))
#define DEVICE(number) ((qcow2blk_device *) (number))

/* As many buffers as a call takes (see qcow2blk_image_preadv). */
#define MOST_BUFFERS 1024

/* What follows every call. A text that is there for another errno is that of an earlier call. */
static q2_result
done (int64_t value)
{
  q2_result result = { value, NULL };
  if (value < 0 && qcow2blk_last_errno () == -value)
    result.message = strdup (qcow2blk_last_error ());
  return result;
}

/* ---------------------------------------------------------------- callbacks */

static void
log_line (void *user_data, int level, const char *message)
{
  (void) user_data;
  goLog (level, (char *) message);
}

static int
each_snapshot (void *user_data, const struct qcow2blk_snapshot *snapshot)
{
  return goSnapshot ((uintptr_t) user_data, (struct qcow2blk_snapshot *) snapshot);
}

static int
each_bitmap (void *user_data, const struct qcow2blk_bitmap *bitmap)
{
  return goBitmap ((uintptr_t) user_data, (struct qcow2blk_bitmap *) bitmap);
}

static int
each_checkpoint (void *user_data, const struct qcow2blk_checkpoint *checkpoint)
{
  return goCheckpoint ((uintptr_t) user_data, (struct qcow2blk_checkpoint *) checkpoint);
}

static void
check_tells (void *user_data, int kind, const char *message, double done_part)
{
  goCheckTells ((uintptr_t) user_data, kind, (char *) message, done_part);
}

static int
each_extent (void *user_data, const struct qcow2blk_extent *extent)
{
  return goExtent ((uintptr_t) user_data, (struct qcow2blk_extent *) extent);
}

static void
each_event (void *user_data, const struct qcow2blk_device_event *event)
{
  goEvent ((uintptr_t) user_data, (struct qcow2blk_device_event *) event);
}

static void
completed (void *user_data, int64_t result)
{
  goCompleted ((uintptr_t) user_data, result);
}

/* ---------------------------------------------------------------- library, log and options */

q2_result
q2_has_feature (const char *name)
{
  return done (qcow2blk_has_feature (name, 0));
}

q2_result
q2_set_log (int on, int level)
{
  return done (qcow2blk_set_log (on ? log_line : NULL, NULL, level, 0));
}

q2_result
q2_options_create (uintptr_t *options)
{
  qcow2blk_options *made = NULL;
  q2_result result = done (qcow2blk_options_create (&made, 0));
  *options = (uintptr_t) made;
  return result;
}

q2_result
q2_options_set (uintptr_t options, const char *name, const char *value)
{
  return done (qcow2blk_options_set (OPTIONS (options), name, value, 0));
}

q2_result
q2_options_add_fd (uintptr_t options, int fd)
{
  return done (qcow2blk_options_add_fd (OPTIONS (options), fd, 0));
}

q2_result
q2_options_set_key (uintptr_t options, const void *key, size_t length)
{
  return done (qcow2blk_options_set_key (OPTIONS (options), key, length, 0));
}

q2_result
q2_options_close (uintptr_t options)
{
  return done (qcow2blk_options_close (OPTIONS (options), 0));
}

/* ---------------------------------------------------------------- images */

q2_result
q2_image_open (const char *path, uintptr_t options, uintptr_t *image, uint32_t flags)
{
  qcow2blk_image *opened = NULL;
  q2_result result = done (qcow2blk_image_open (path, OPTIONS (options), &opened, flags));
  *image = (uintptr_t) opened;
  return result;
}

q2_result
q2_image_close (uintptr_t image)
{
  return done (qcow2blk_image_close (IMAGE (image), 0));
}

q2_result
q2_image_size (uintptr_t image)
{
  return done (qcow2blk_image_size (IMAGE (image)));
}

q2_result
q2_image_cluster_size (uintptr_t image)
{
  return done (qcow2blk_image_cluster_size (IMAGE (image)));
}

q2_result
q2_image_is_read_only (uintptr_t image)
{
  return done (qcow2blk_image_is_read_only (IMAGE (image)));
}

q2_result
q2_image_format_version (uintptr_t image)
{
  return done (qcow2blk_image_format_version (IMAGE (image)));
}

q2_result
q2_image_backing_file (uintptr_t image, char *buffer, size_t size)
{
  return done (qcow2blk_image_backing_file (IMAGE (image), buffer, size));
}

q2_result
q2_image_info (uintptr_t image, char *buffer, size_t size)
{
  return done (qcow2blk_image_info (IMAGE (image), buffer, size, 0));
}

q2_result
q2_image_list_snapshots (uintptr_t image, uintptr_t walk)
{
  return done (qcow2blk_image_list_snapshots (IMAGE (image), each_snapshot, (void *) walk, 0));
}

q2_result
q2_image_in_flight (uintptr_t image)
{
  return done (qcow2blk_image_in_flight (IMAGE (image)));
}

q2_result
q2_image_fd (uintptr_t image)
{
  return done (qcow2blk_image_fd (IMAGE (image)));
}

q2_result
q2_image_process (uintptr_t image)
{
  return done (qcow2blk_image_process (IMAGE (image), 0));
}

/* ---------------------------------------------------------------- synchronous I/O */

/* Cuts one buffer into several; an array that is too long is cut too, one above what the library takes. */
static int
cut (struct iovec *iov, void *base, const size_t *lengths, int count)
{
  char *at = base;
  if (count > MOST_BUFFERS + 1)
    count = MOST_BUFFERS + 1;
  for (int i = 0; i < count; i++) {
    iov[i].iov_base = at;
    iov[i].iov_len = lengths[i];
    at += lengths[i];
  }
  return count;
}

q2_result
q2_image_pread (uintptr_t image, void *buffer, size_t count, uint64_t offset)
{
  return done (qcow2blk_image_pread (IMAGE (image), buffer, count, offset, 0));
}

q2_result
q2_image_pwrite (uintptr_t image, const void *buffer, size_t count, uint64_t offset, uint32_t flags)
{
  return done (qcow2blk_image_pwrite (IMAGE (image), buffer, count, offset, flags));
}

q2_result
q2_image_preadv (uintptr_t image, void *base, const size_t *lengths, int count, uint64_t offset)
{
  struct iovec iov[MOST_BUFFERS + 1];
  count = cut (iov, base, lengths, count);
  return done (qcow2blk_image_preadv (IMAGE (image), iov, count, offset, 0));
}

q2_result
q2_image_pwritev (uintptr_t image, void *base, const size_t *lengths, int count, uint64_t offset, uint32_t flags)
{
  struct iovec iov[MOST_BUFFERS + 1];
  count = cut (iov, base, lengths, count);
  return done (qcow2blk_image_pwritev (IMAGE (image), iov, count, offset, flags));
}

q2_result
q2_image_flush (uintptr_t image)
{
  return done (qcow2blk_image_flush (IMAGE (image), 0));
}

q2_result
q2_image_discard (uintptr_t image, uint64_t offset, uint64_t length, uint32_t flags)
{
  return done (qcow2blk_image_discard (IMAGE (image), offset, length, flags));
}

q2_result
q2_image_write_zeroes (uintptr_t image, uint64_t offset, uint64_t length, uint32_t flags)
{
  return done (qcow2blk_image_write_zeroes (IMAGE (image), offset, length, flags));
}

q2_result
q2_image_block_status (uintptr_t image, uint64_t offset, uint64_t length, uintptr_t walk)
{
  return done (qcow2blk_image_block_status (IMAGE (image), offset, length, each_extent, (void *) walk, 0));
}

/* ---------------------------------------------------------------- asynchronous I/O */

static struct qcow2blk_notify
tell (uintptr_t queue, uintptr_t token)
{
  struct qcow2blk_notify notify = { 0 };
  notify.size = sizeof notify;
  notify.queue = QUEUE (queue);
  notify.callback = queue ? NULL : completed;
  notify.user_data = (void *) token;
  return notify;
}

q2_result
q2_queue_create (uintptr_t *queue, uint32_t depth)
{
  qcow2blk_queue *made = NULL;
  q2_result result = done (qcow2blk_queue_create (&made, depth, 0));
  *queue = (uintptr_t) made;
  return result;
}

q2_result
q2_queue_fd (uintptr_t queue)
{
  return done (qcow2blk_queue_fd (QUEUE (queue)));
}

q2_result
q2_queue_wait (uintptr_t queue, struct qcow2blk_completion *completions, uint32_t max, int timeout)
{
  return done (qcow2blk_queue_wait (QUEUE (queue), completions, max, timeout, 0));
}

q2_result
q2_queue_close (uintptr_t queue)
{
  return done (qcow2blk_queue_close (QUEUE (queue), 0));
}

q2_result
q2_aio_pread (uintptr_t image, void *buffer, size_t count, uint64_t offset, uintptr_t queue, uintptr_t token)
{
  struct qcow2blk_notify notify = tell (queue, token);
  return done (qcow2blk_image_aio_pread (IMAGE (image), buffer, count, offset, &notify, 0));
}

q2_result
q2_aio_pwrite (uintptr_t image, const void *buffer, size_t count, uint64_t offset, uintptr_t queue, uintptr_t token,
               uint32_t flags)
{
  struct qcow2blk_notify notify = tell (queue, token);
  return done (qcow2blk_image_aio_pwrite (IMAGE (image), buffer, count, offset, &notify, flags));
}

q2_result
q2_aio_preadv (uintptr_t image, void *base, const size_t *lengths, int count, uint64_t offset, uintptr_t queue,
               uintptr_t token)
{
  struct qcow2blk_notify notify = tell (queue, token);
  struct iovec iov[MOST_BUFFERS + 1];
  count = cut (iov, base, lengths, count);
  return done (qcow2blk_image_aio_preadv (IMAGE (image), iov, count, offset, &notify, 0));
}

q2_result
q2_aio_pwritev (uintptr_t image, void *base, const size_t *lengths, int count, uint64_t offset, uintptr_t queue,
                uintptr_t token, uint32_t flags)
{
  struct qcow2blk_notify notify = tell (queue, token);
  struct iovec iov[MOST_BUFFERS + 1];
  count = cut (iov, base, lengths, count);
  return done (qcow2blk_image_aio_pwritev (IMAGE (image), iov, count, offset, &notify, flags));
}

q2_result
q2_aio_flush (uintptr_t image, uintptr_t queue, uintptr_t token)
{
  struct qcow2blk_notify notify = tell (queue, token);
  return done (qcow2blk_image_aio_flush (IMAGE (image), &notify, 0));
}

q2_result
q2_aio_discard (uintptr_t image, uint64_t offset, uint64_t length, uintptr_t queue, uintptr_t token, uint32_t flags)
{
  struct qcow2blk_notify notify = tell (queue, token);
  return done (qcow2blk_image_aio_discard (IMAGE (image), offset, length, &notify, flags));
}

q2_result
q2_aio_write_zeroes (uintptr_t image, uint64_t offset, uint64_t length, uintptr_t queue, uintptr_t token,
                     uint32_t flags)
{
  struct qcow2blk_notify notify = tell (queue, token);
  return done (qcow2blk_image_aio_write_zeroes (IMAGE (image), offset, length, &notify, flags));
}

q2_result
q2_aio_block_status (uintptr_t image, uint64_t offset, uint64_t length, struct qcow2blk_extent *extents, uint32_t max,
                     uintptr_t queue, uintptr_t token)
{
  struct qcow2blk_notify notify = tell (queue, token);
  return done (qcow2blk_image_aio_block_status (IMAGE (image), offset, length, extents, max, &notify, 0));
}

/* ---------------------------------------------------------------- devices */

q2_result
q2_device_attach (const char *path, uintptr_t options, uintptr_t *device)
{
  qcow2blk_device *attached = NULL;
  q2_result result = done (qcow2blk_device_attach (path, OPTIONS (options), &attached, 0));
  *device = (uintptr_t) attached;
  return result;
}

q2_result
q2_device_open (const char *target, uintptr_t *device)
{
  qcow2blk_device *opened = NULL;
  q2_result result = done (qcow2blk_device_open (target, &opened, 0));
  *device = (uintptr_t) opened;
  return result;
}

q2_result
q2_device_name (uintptr_t device, char *buffer, size_t size)
{
  return done (qcow2blk_device_name (DEVICE (device), buffer, size));
}

q2_result
q2_device_uri (uintptr_t device, char *buffer, size_t size)
{
  return done (qcow2blk_device_uri (DEVICE (device), buffer, size));
}

q2_result
q2_device_path (uintptr_t device, char *buffer, size_t size)
{
  return done (qcow2blk_device_path (DEVICE (device), buffer, size));
}

q2_result
q2_device_state (uintptr_t device)
{
  return done (qcow2blk_device_state (DEVICE (device), 0));
}

q2_result
q2_device_status (uintptr_t device, char *buffer, size_t size)
{
  return done (qcow2blk_device_status (DEVICE (device), buffer, size, 0));
}

q2_result
q2_device_suspend (uintptr_t device, int timeout)
{
  return done (qcow2blk_device_suspend (DEVICE (device), timeout, 0));
}

q2_result
q2_device_resume (uintptr_t device, int timeout, uint32_t flags)
{
  return done (qcow2blk_device_resume (DEVICE (device), timeout, flags));
}

q2_result
q2_device_detach (uintptr_t device, int timeout, uint32_t flags)
{
  return done (qcow2blk_device_detach (DEVICE (device), timeout, flags));
}

q2_result
q2_device_set_event_callback (uintptr_t device, uintptr_t sink)
{
  return done (
      qcow2blk_device_set_event_callback (DEVICE (device), sink ? each_event : NULL, (void *) sink, 0));
}

q2_result
q2_device_close (uintptr_t device)
{
  return done (qcow2blk_device_close (DEVICE (device), 0));
}

/* ---------------------------------------------------------------- image files */

q2_result
q2_create (const char *path, int64_t size, uintptr_t options, uint32_t flags)
{
  return done (qcow2blk_create (path, size, OPTIONS (options), flags));
}

q2_result
q2_check (const char *path, struct qcow2blk_check_result *result, uintptr_t told, uint32_t flags)
{
  return done (qcow2blk_check (path, result, told == 0 ? NULL : check_tells, (void *) told, flags));
}

/* ---------------------------------------------------------------- snapshots, bitmaps, checkpoints */

q2_result
q2_image_resize (uintptr_t image, uint64_t size, uint32_t flags)
{
  return done (qcow2blk_image_resize (IMAGE (image), size, flags));
}

q2_result
q2_image_create_snapshot (uintptr_t image, const char *name, char *id, size_t size)
{
  return done (qcow2blk_image_create_snapshot (IMAGE (image), name, id, size, 0));
}

q2_result
q2_image_delete_snapshot (uintptr_t image, const char *snapshot)
{
  return done (qcow2blk_image_delete_snapshot (IMAGE (image), snapshot, 0));
}

q2_result
q2_image_revert_snapshot (uintptr_t image, const char *snapshot)
{
  return done (qcow2blk_image_revert_snapshot (IMAGE (image), snapshot, 0));
}

q2_result
q2_image_list_bitmaps (uintptr_t image, uintptr_t walk)
{
  return done (qcow2blk_image_list_bitmaps (IMAGE (image), each_bitmap, (void *) walk, 0));
}

q2_result
q2_image_add_bitmap (uintptr_t image, const char *name, uint64_t granularity, uint32_t flags)
{
  return done (qcow2blk_image_add_bitmap (IMAGE (image), name, granularity, flags));
}

q2_result
q2_image_remove_bitmap (uintptr_t image, const char *name)
{
  return done (qcow2blk_image_remove_bitmap (IMAGE (image), name, 0));
}

q2_result
q2_image_clear_bitmap (uintptr_t image, const char *name)
{
  return done (qcow2blk_image_clear_bitmap (IMAGE (image), name, 0));
}

q2_result
q2_image_enable_bitmap (uintptr_t image, const char *name)
{
  return done (qcow2blk_image_enable_bitmap (IMAGE (image), name, 0));
}

q2_result
q2_image_disable_bitmap (uintptr_t image, const char *name)
{
  return done (qcow2blk_image_disable_bitmap (IMAGE (image), name, 0));
}

q2_result
q2_image_merge_bitmap (uintptr_t image, const char *name, const char *from)
{
  return done (qcow2blk_image_merge_bitmap (IMAGE (image), name, from, 0));
}

q2_result
q2_image_bitmap_status (uintptr_t image, const char *name, uint64_t offset, uint64_t length, uintptr_t walk)
{
  return done (qcow2blk_image_bitmap_status (IMAGE (image), name, offset, length, each_extent, (void *) walk, 0));
}

q2_result
q2_image_list_checkpoints (uintptr_t image, uintptr_t walk)
{
  return done (qcow2blk_image_list_checkpoints (IMAGE (image), each_checkpoint, (void *) walk, 0));
}

q2_result
q2_image_create_checkpoint (uintptr_t image, const char *name, uint64_t granularity)
{
  return done (qcow2blk_image_create_checkpoint (IMAGE (image), name, granularity, 0));
}

q2_result
q2_image_delete_checkpoint (uintptr_t image, const char *name)
{
  return done (qcow2blk_image_delete_checkpoint (IMAGE (image), name, 0));
}

q2_result
q2_device_resize (uintptr_t device, uint64_t size, int timeout, uint32_t flags)
{
  return done (qcow2blk_device_resize (DEVICE (device), size, timeout, flags));
}

q2_result
q2_device_list_snapshots (uintptr_t device, uintptr_t walk, int timeout)
{
  return done (qcow2blk_device_list_snapshots (DEVICE (device), each_snapshot, (void *) walk, timeout, 0));
}

q2_result
q2_device_create_snapshot (uintptr_t device, const char *name, char *id, size_t size, int timeout)
{
  return done (qcow2blk_device_create_snapshot (DEVICE (device), name, id, size, timeout, 0));
}

q2_result
q2_device_delete_snapshot (uintptr_t device, const char *snapshot, int timeout)
{
  return done (qcow2blk_device_delete_snapshot (DEVICE (device), snapshot, timeout, 0));
}

q2_result
q2_device_revert_snapshot (uintptr_t device, const char *snapshot, int timeout, uint32_t flags)
{
  return done (qcow2blk_device_revert_snapshot (DEVICE (device), snapshot, timeout, flags));
}

q2_result
q2_device_list_bitmaps (uintptr_t device, uintptr_t walk, int timeout)
{
  return done (qcow2blk_device_list_bitmaps (DEVICE (device), each_bitmap, (void *) walk, timeout, 0));
}

q2_result
q2_device_add_bitmap (uintptr_t device, const char *name, uint64_t granularity, int timeout, uint32_t flags)
{
  return done (qcow2blk_device_add_bitmap (DEVICE (device), name, granularity, timeout, flags));
}

q2_result
q2_device_remove_bitmap (uintptr_t device, const char *name, int timeout)
{
  return done (qcow2blk_device_remove_bitmap (DEVICE (device), name, timeout, 0));
}

q2_result
q2_device_clear_bitmap (uintptr_t device, const char *name, int timeout)
{
  return done (qcow2blk_device_clear_bitmap (DEVICE (device), name, timeout, 0));
}

q2_result
q2_device_enable_bitmap (uintptr_t device, const char *name, int timeout)
{
  return done (qcow2blk_device_enable_bitmap (DEVICE (device), name, timeout, 0));
}

q2_result
q2_device_disable_bitmap (uintptr_t device, const char *name, int timeout)
{
  return done (qcow2blk_device_disable_bitmap (DEVICE (device), name, timeout, 0));
}

q2_result
q2_device_merge_bitmap (uintptr_t device, const char *name, const char *from, int timeout)
{
  return done (qcow2blk_device_merge_bitmap (DEVICE (device), name, from, timeout, 0));
}

q2_result
q2_device_list_checkpoints (uintptr_t device, uintptr_t walk, int timeout)
{
  return done (qcow2blk_device_list_checkpoints (DEVICE (device), each_checkpoint, (void *) walk, timeout, 0));
}

/* Numbers are as wide as handles: the array is one of these. */
q2_result
q2_devices_create_checkpoint (uintptr_t *devices, size_t count, const char *name, uint64_t granularity, int timeout)
{
  return done (qcow2blk_devices_create_checkpoint ((qcow2blk_device *const *) devices, count, name, granularity, timeout, 0));
}

q2_result
q2_device_delete_checkpoint (uintptr_t device, const char *name, int timeout)
{
  return done (qcow2blk_device_delete_checkpoint (DEVICE (device), name, timeout, 0));
}
