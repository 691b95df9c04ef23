/* SPDX-License-Identifier: MIT
 *
 * The functions of qcow2blk.h as programs call them. Each goes straight on to the managed one of that name, but for a few things
 * that have to be done outside of the runtime:
 *
 * - The runtime's start sets SIGPIPE to ignored: what was there before is put back.
 * - Its handler of SIGRTMIN, by which it stops threads to collect garbage, would run on the stack of whoever is interrupted. Where a
 *   thread has another stack for signals it runs on that: goroutines have a few KiB only.
 * - A child after fork() has none of the runtime's threads, and would wait for them: it is refused at once.
 * - The text of the last error belongs to a thread: here it goes away with it.
 */
#define _GNU_SOURCE
#include <qcow2blk.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#define LAST_ERROR_ROOM 1024

static __thread struct {
  int number;
  char text[LAST_ERROR_ROOM];
} last;

/* What the next call finds: 0 before the first, then 1; 2 in a child. */
static atomic_int state;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The managed side. */
int managed_start (void);
void guard_set_error (int number, const char *text, size_t length);

/* Called by the managed side, on the thread whose call fails. */
void
guard_set_error (int number, const char *text, size_t length)
{
  if (length >= sizeof last.text) {
    length = sizeof last.text - 1;

    /* Not in the middle of a character. */
    while (length > 0 && ((unsigned char) text[length] & 0xc0) == 0x80)
      length--;
  }
  last.number = number;
  memcpy (last.text, text, length);
  last.text[length] = '\0';
}

static void
forked (void)
{
  atomic_store (&state, 2);
}

static void
start (void)
{
  struct sigaction pipes, stops;
  int known = sigaction (SIGPIPE, NULL, &pipes);

  pthread_atfork (NULL, NULL, forked);
  managed_start ();
  if (known == 0)
    sigaction (SIGPIPE, &pipes, NULL);
  if (sigaction (SIGRTMIN, NULL, &stops) == 0 && (stops.sa_flags & (SA_SIGINFO | SA_ONSTACK)) == SA_SIGINFO) {
    stops.sa_flags |= SA_ONSTACK;
    sigaction (SIGRTMIN, &stops, NULL);
  }
  atomic_store (&state, 1);
}

static int
enter_slowly (void)
{
  static const char text[] = "this process is a child after fork() of one that uses libqcow2blk: it has no engine (it may call exec)";

  if (atomic_load (&state) == 0)
    pthread_once (&once, start);
  if (atomic_load (&state) == 1)
    return 0;
  guard_set_error (ENOTRECOVERABLE, text, sizeof text - 1);
  return -ENOTRECOVERABLE;
}

static inline int
enter (void)
{
  return __builtin_expect (atomic_load_explicit (&state, memory_order_acquire) == 1, 1) ? 0 : enter_slowly ();
}

uint32_t
qcow2blk_version (void)
{
  return QCOW2BLK_VERSION;
}

const char *
qcow2blk_last_error (void)
{
  return last.text;
}

int
qcow2blk_last_errno (void)
{
  return last.number;
}

#define GUARD(type, name, parameters, arguments) \
  type managed_##name parameters;                \
  type qcow2blk_##name parameters                \
  {                                              \
    int refused = enter ();                      \
    return refused ? refused : managed_##name arguments; \
  }

GUARD (int, has_feature,
       (const char *name, uint32_t flags),
       (name, flags))
GUARD (int, set_log,
       (qcow2blk_log_fn *callback, void *user_data, int level, uint32_t flags),
       (callback, user_data, level, flags))
GUARD (int, options_create,
       (qcow2blk_options **options, uint32_t flags),
       (options, flags))
GUARD (int, options_set,
       (qcow2blk_options *options, const char *name, const char *value, uint32_t flags),
       (options, name, value, flags))
GUARD (int, options_add_fd,
       (qcow2blk_options *options, int fd, uint32_t flags),
       (options, fd, flags))
GUARD (int, options_close,
       (qcow2blk_options *options, uint32_t flags),
       (options, flags))
GUARD (int, image_open,
       (const char *path, const qcow2blk_options *options, qcow2blk_image **image, uint32_t flags),
       (path, options, image, flags))
GUARD (int, image_close,
       (qcow2blk_image *image, uint32_t flags),
       (image, flags))
GUARD (int64_t, image_size,
       (qcow2blk_image *image),
       (image))
GUARD (int64_t, image_cluster_size,
       (qcow2blk_image *image),
       (image))
GUARD (int, image_is_read_only,
       (qcow2blk_image *image),
       (image))
GUARD (int, image_format_version,
       (qcow2blk_image *image),
       (image))
GUARD (ssize_t, image_backing_file,
       (qcow2blk_image *image, char *buffer, size_t size),
       (image, buffer, size))
GUARD (ssize_t, image_info,
       (qcow2blk_image *image, char *buffer, size_t size, uint32_t flags),
       (image, buffer, size, flags))
GUARD (int, image_list_snapshots,
       (qcow2blk_image *image, qcow2blk_snapshot_fn *callback, void *user_data, uint32_t flags),
       (image, callback, user_data, flags))
GUARD (ssize_t, image_pread,
       (qcow2blk_image *image, void *buffer, size_t count, uint64_t offset, uint32_t flags),
       (image, buffer, count, offset, flags))
GUARD (ssize_t, image_pwrite,
       (qcow2blk_image *image, const void *buffer, size_t count, uint64_t offset, uint32_t flags),
       (image, buffer, count, offset, flags))
GUARD (ssize_t, image_preadv,
       (qcow2blk_image *image, const struct iovec *iov, int iovcnt, uint64_t offset, uint32_t flags),
       (image, iov, iovcnt, offset, flags))
GUARD (ssize_t, image_pwritev,
       (qcow2blk_image *image, const struct iovec *iov, int iovcnt, uint64_t offset, uint32_t flags),
       (image, iov, iovcnt, offset, flags))
GUARD (int, image_flush,
       (qcow2blk_image *image, uint32_t flags),
       (image, flags))
GUARD (int, image_discard,
       (qcow2blk_image *image, uint64_t offset, uint64_t length, uint32_t flags),
       (image, offset, length, flags))
GUARD (int, image_write_zeroes,
       (qcow2blk_image *image, uint64_t offset, uint64_t length, uint32_t flags),
       (image, offset, length, flags))
GUARD (int, image_block_status,
       (qcow2blk_image *image, uint64_t offset, uint64_t length, qcow2blk_extent_fn *callback, void
        *user_data, uint32_t flags),
       (image, offset, length, callback, user_data, flags))
GUARD (int, queue_create,
       (qcow2blk_queue **queue, uint32_t depth, uint32_t flags),
       (queue, depth, flags))
GUARD (int, queue_fd,
       (qcow2blk_queue *queue),
       (queue))
GUARD (int, queue_wait,
       (qcow2blk_queue *queue, struct qcow2blk_completion *completions, uint32_t max, int timeout, uint32_t
        flags),
       (queue, completions, max, timeout, flags))
GUARD (int, queue_close,
       (qcow2blk_queue *queue, uint32_t flags),
       (queue, flags))
GUARD (int, image_aio_pread,
       (qcow2blk_image *image, void *buffer, size_t count, uint64_t offset, const struct qcow2blk_notify
        *notify, uint32_t flags),
       (image, buffer, count, offset, notify, flags))
GUARD (int, image_aio_pwrite,
       (qcow2blk_image *image, const void *buffer, size_t count, uint64_t offset, const struct qcow2blk_notify
        *notify, uint32_t flags),
       (image, buffer, count, offset, notify, flags))
GUARD (int, image_aio_preadv,
       (qcow2blk_image *image, const struct iovec *iov, int iovcnt, uint64_t offset, const struct
        qcow2blk_notify *notify, uint32_t flags),
       (image, iov, iovcnt, offset, notify, flags))
GUARD (int, image_aio_pwritev,
       (qcow2blk_image *image, const struct iovec *iov, int iovcnt, uint64_t offset, const struct
        qcow2blk_notify *notify, uint32_t flags),
       (image, iov, iovcnt, offset, notify, flags))
GUARD (int, image_aio_flush,
       (qcow2blk_image *image, const struct qcow2blk_notify *notify, uint32_t flags),
       (image, notify, flags))
GUARD (int, image_aio_discard,
       (qcow2blk_image *image, uint64_t offset, uint64_t length, const struct qcow2blk_notify *notify,
        uint32_t flags),
       (image, offset, length, notify, flags))
GUARD (int, image_aio_write_zeroes,
       (qcow2blk_image *image, uint64_t offset, uint64_t length, const struct qcow2blk_notify *notify,
        uint32_t flags),
       (image, offset, length, notify, flags))
GUARD (int, image_aio_block_status,
       (qcow2blk_image *image, uint64_t offset, uint64_t length, struct qcow2blk_extent *extents, uint32_t
        max, const struct qcow2blk_notify *notify, uint32_t flags),
       (image, offset, length, extents, max, notify, flags))
GUARD (int, image_in_flight,
       (qcow2blk_image *image),
       (image))
GUARD (int, image_fd,
       (qcow2blk_image *image),
       (image))
GUARD (int, image_process,
       (qcow2blk_image *image, uint32_t flags),
       (image, flags))
GUARD (int, device_attach,
       (const char *path, const qcow2blk_options *options, qcow2blk_device **device, uint32_t flags),
       (path, options, device, flags))
GUARD (int, device_open,
       (const char *target, qcow2blk_device **device, uint32_t flags),
       (target, device, flags))
GUARD (ssize_t, device_name,
       (qcow2blk_device *device, char *buffer, size_t size),
       (device, buffer, size))
GUARD (ssize_t, device_uri,
       (qcow2blk_device *device, char *buffer, size_t size),
       (device, buffer, size))
GUARD (ssize_t, device_path,
       (qcow2blk_device *device, char *buffer, size_t size),
       (device, buffer, size))
GUARD (int, device_state,
       (qcow2blk_device *device, uint32_t flags),
       (device, flags))
GUARD (ssize_t, device_status,
       (qcow2blk_device *device, char *buffer, size_t size, uint32_t flags),
       (device, buffer, size, flags))
GUARD (int, device_suspend,
       (qcow2blk_device *device, int timeout, uint32_t flags),
       (device, timeout, flags))
GUARD (int, device_resume,
       (qcow2blk_device *device, int timeout, uint32_t flags),
       (device, timeout, flags))
GUARD (int, device_detach,
       (qcow2blk_device *device, int timeout, uint32_t flags),
       (device, timeout, flags))
GUARD (int, device_set_event_callback,
       (qcow2blk_device *device, qcow2blk_event_fn *callback, void *user_data, uint32_t flags),
       (device, callback, user_data, flags))
GUARD (int, device_close,
       (qcow2blk_device *device, uint32_t flags),
       (device, flags))
GUARD (int, options_set_key,
       (qcow2blk_options *options, const void *key, size_t length, uint32_t flags),
       (options, key, length, flags))
GUARD (int, create,
       (const char *path, int64_t size, const qcow2blk_options *options, uint32_t flags),
       (path, size, options, flags))
GUARD (int, check,
       (const char *path, struct qcow2blk_check_result *result, qcow2blk_check_fn *callback, void
        *user_data, uint32_t flags),
       (path, result, callback, user_data, flags))
GUARD (int, image_create_snapshot,
       (qcow2blk_image *image, const char *name, char *id, size_t size, uint32_t flags),
       (image, name, id, size, flags))
GUARD (int, image_delete_snapshot,
       (qcow2blk_image *image, const char *snapshot, uint32_t flags),
       (image, snapshot, flags))
GUARD (int, image_revert_snapshot,
       (qcow2blk_image *image, const char *snapshot, uint32_t flags),
       (image, snapshot, flags))
GUARD (int, image_list_bitmaps,
       (qcow2blk_image *image, qcow2blk_bitmap_fn *callback, void *user_data, uint32_t flags),
       (image, callback, user_data, flags))
GUARD (int, image_add_bitmap,
       (qcow2blk_image *image, const char *name, uint64_t granularity, uint32_t flags),
       (image, name, granularity, flags))
GUARD (int, image_remove_bitmap,
       (qcow2blk_image *image, const char *name, uint32_t flags),
       (image, name, flags))
GUARD (int, image_clear_bitmap,
       (qcow2blk_image *image, const char *name, uint32_t flags),
       (image, name, flags))
GUARD (int, image_enable_bitmap,
       (qcow2blk_image *image, const char *name, uint32_t flags),
       (image, name, flags))
GUARD (int, image_disable_bitmap,
       (qcow2blk_image *image, const char *name, uint32_t flags),
       (image, name, flags))
GUARD (int, image_merge_bitmap,
       (qcow2blk_image *image, const char *name, const char *from, uint32_t flags),
       (image, name, from, flags))
GUARD (int, image_bitmap_status,
       (qcow2blk_image *image, const char *name, uint64_t offset, uint64_t length, qcow2blk_extent_fn
        *callback, void *user_data, uint32_t flags),
       (image, name, offset, length, callback, user_data, flags))
GUARD (int, device_list_snapshots,
       (qcow2blk_device *device, qcow2blk_snapshot_fn *callback, void *user_data, int timeout, uint32_t
        flags),
       (device, callback, user_data, timeout, flags))
GUARD (int, device_create_snapshot,
       (qcow2blk_device *device, const char *name, char *id, size_t size, int timeout, uint32_t flags),
       (device, name, id, size, timeout, flags))
GUARD (int, device_delete_snapshot,
       (qcow2blk_device *device, const char *snapshot, int timeout, uint32_t flags),
       (device, snapshot, timeout, flags))
GUARD (int, device_revert_snapshot,
       (qcow2blk_device *device, const char *snapshot, int timeout, uint32_t flags),
       (device, snapshot, timeout, flags))
GUARD (int, device_list_bitmaps,
       (qcow2blk_device *device, qcow2blk_bitmap_fn *callback, void *user_data, int timeout, uint32_t
        flags),
       (device, callback, user_data, timeout, flags))
GUARD (int, device_add_bitmap,
       (qcow2blk_device *device, const char *name, uint64_t granularity, int timeout, uint32_t flags),
       (device, name, granularity, timeout, flags))
GUARD (int, device_remove_bitmap,
       (qcow2blk_device *device, const char *name, int timeout, uint32_t flags),
       (device, name, timeout, flags))
GUARD (int, device_clear_bitmap,
       (qcow2blk_device *device, const char *name, int timeout, uint32_t flags),
       (device, name, timeout, flags))
GUARD (int, device_enable_bitmap,
       (qcow2blk_device *device, const char *name, int timeout, uint32_t flags),
       (device, name, timeout, flags))
GUARD (int, device_disable_bitmap,
       (qcow2blk_device *device, const char *name, int timeout, uint32_t flags),
       (device, name, timeout, flags))
GUARD (int, device_merge_bitmap,
       (qcow2blk_device *device, const char *name, const char *from, int timeout, uint32_t flags),
       (device, name, from, timeout, flags))
GUARD (int, image_resize,
       (qcow2blk_image *image, uint64_t size, uint32_t flags),
       (image, size, flags))
GUARD (int, device_resize,
       (qcow2blk_device *device, uint64_t size, int timeout, uint32_t flags),
       (device, size, timeout, flags))
GUARD (int, image_create_checkpoint,
       (qcow2blk_image *image, const char *name, uint64_t granularity, uint32_t flags),
       (image, name, granularity, flags))
GUARD (int, image_delete_checkpoint,
       (qcow2blk_image *image, const char *name, uint32_t flags),
       (image, name, flags))
GUARD (int, image_list_checkpoints,
       (qcow2blk_image *image, qcow2blk_checkpoint_fn *callback, void *user_data, uint32_t flags),
       (image, callback, user_data, flags))
GUARD (int, devices_create_checkpoint,
       (qcow2blk_device *const *devices, size_t count, const char *name, uint64_t granularity, int
        timeout, uint32_t flags),
       (devices, count, name, granularity, timeout, flags))
GUARD (int, device_delete_checkpoint,
       (qcow2blk_device *device, const char *name, int timeout, uint32_t flags),
       (device, name, timeout, flags))
GUARD (int, device_list_checkpoints,
       (qcow2blk_device *device, qcow2blk_checkpoint_fn *callback, void *user_data, int timeout, uint32_t
        flags),
       (device, callback, user_data, timeout, flags))
