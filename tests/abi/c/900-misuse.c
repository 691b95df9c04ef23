/* A handle that is NULL, closed, of another kind or no handle at all gives -EINVAL from every function, and nothing crashes. */
#include "aio.h"

static char buffer[512];
static qcow2blk_queue *queue;

static int
ignore_extent (void *user_data, const struct qcow2blk_extent *extent)
{
  (void) user_data, (void) extent;
  return 0;
}

static int
ignore_snapshot (void *user_data, const struct qcow2blk_snapshot *snapshot)
{
  (void) user_data, (void) snapshot;
  return 0;
}

static void
ignore_event (void *user_data, const struct qcow2blk_device_event *event)
{
  (void) user_data, (void) event;
}

static void
check_image (void *handle)
{
  qcow2blk_image *image = handle;
  struct iovec iov = { buffer, sizeof buffer };
  struct qcow2blk_notify notify = to_queue (queue, NULL);
  struct qcow2blk_extent extent;
  CHECK_ERR (EINVAL, qcow2blk_image_size (image));
  CHECK_ERR (EINVAL, qcow2blk_image_cluster_size (image));
  CHECK_ERR (EINVAL, qcow2blk_image_is_read_only (image));
  CHECK_ERR (EINVAL, qcow2blk_image_format_version (image));
  CHECK_ERR (EINVAL, qcow2blk_image_backing_file (image, buffer, sizeof buffer));
  CHECK_ERR (EINVAL, qcow2blk_image_info (image, buffer, sizeof buffer, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_list_snapshots (image, ignore_snapshot, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, buffer, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwrite (image, buffer, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_preadv (image, &iov, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwritev (image, &iov, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_flush (image, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_discard (image, 0, 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_write_zeroes (image, 0, 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_block_status (image, 0, 1, ignore_extent, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, buffer, 1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwrite (image, buffer, 1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_preadv (image, &iov, 1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwritev (image, &iov, 1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_flush (image, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_discard (image, 0, 1, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_write_zeroes (image, 0, 1, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_block_status (image, 0, 1, &extent, 1, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_in_flight (image));
  CHECK_ERR (EINVAL, qcow2blk_image_fd (image));
  CHECK_ERR (EINVAL, qcow2blk_image_process (image, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_close (image, 0));
}

static void
check_queue (void *handle)
{
  struct qcow2blk_completion completion;
  qcow2blk_queue *wrong = handle;
  CHECK_ERR (EINVAL, qcow2blk_queue_fd (wrong));
  CHECK_ERR (EINVAL, qcow2blk_queue_wait (wrong, &completion, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_queue_close (wrong, 0));
}

static void
check_options (void *handle)
{
  qcow2blk_options *options = handle;
  qcow2blk_image *image = NULL;
  CHECK_ERR (EINVAL, qcow2blk_options_set (options, "read-only", "true", 0));
  CHECK_ERR (EINVAL, qcow2blk_options_add_fd (options, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_options_close (options, 0));
  if (options != NULL) /* without options is right */
    CHECK_ERR (EINVAL, qcow2blk_image_open (shared_image ("plain.qcow2"), options, &image, QCOW2BLK_OPEN_READ_ONLY));
}

static void
check_device (void *handle)
{
  qcow2blk_device *device = handle;
  CHECK_ERR (EINVAL, qcow2blk_device_name (device, buffer, sizeof buffer));
  CHECK_ERR (EINVAL, qcow2blk_device_uri (device, buffer, sizeof buffer));
  CHECK_ERR (EINVAL, qcow2blk_device_path (device, buffer, sizeof buffer));
  CHECK_ERR (EINVAL, qcow2blk_device_state (device, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_status (device, buffer, sizeof buffer, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_suspend (device, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_resume (device, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_detach (device, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_set_event_callback (device, ignore_event, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_close (device, 0));
}

static void
check_all (void *handle)
{
  check_image (handle);
  check_queue (handle);
  check_options (handle);
  check_device (handle);
}

/* Flags that nobody knows are refused by whatever takes flags. */
static void
check_flags (qcow2blk_image *image)
{
  uint32_t wrong = 1U << 31;
  struct iovec iov = { buffer, sizeof buffer };
  struct qcow2blk_notify notify = to_queue (queue, NULL);
  struct qcow2blk_extent extent;
  struct qcow2blk_completion completion;
  CHECK_ERR (EINVAL, qcow2blk_image_info (image, buffer, sizeof buffer, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_list_snapshots (image, ignore_snapshot, NULL, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, buffer, 1, 0, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_pwrite (image, buffer, 1, 0, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_preadv (image, &iov, 1, 0, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_pwritev (image, &iov, 1, 0, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_flush (image, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_discard (image, 0, 1, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_write_zeroes (image, 0, 1, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_block_status (image, 0, 1, ignore_extent, NULL, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, buffer, 1, 0, &notify, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwrite (image, buffer, 1, 0, &notify, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_preadv (image, &iov, 1, 0, &notify, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwritev (image, &iov, 1, 0, &notify, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_flush (image, &notify, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_discard (image, 0, 1, &notify, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_write_zeroes (image, 0, 1, &notify, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_block_status (image, 0, 1, &extent, 1, &notify, wrong));
  CHECK_ERR (EINVAL, qcow2blk_queue_wait (queue, &completion, 1, 0, wrong));
  CHECK_ERR (EINVAL, qcow2blk_queue_close (queue, wrong));
  CHECK_ERR (EINVAL, qcow2blk_image_close (image, wrong));
  CHECK_EQ (0, qcow2blk_image_in_flight (image));
}

int
main (void)
{
  qcow2blk_options *options;
  qcow2blk_image *image = open_copy ("plain.qcow2");
  queue = make_queue (4);
  CHECK_OK (qcow2blk_options_create (&options, 0));

  check_all (NULL);
  check_all (buffer);
  check_all ((void *) 1);
  check_all ((void *) -1L);
  check_all ((char *) image + 1);
  check_queue (image), check_options (image), check_device (image);
  check_image (queue), check_options (queue), check_device (queue);
  check_image (options), check_queue (options), check_device (options);
  check_flags (image);

  /* All of that did no harm. */
  check_disk (image, 1, 0, 64 * KiB);

  /* Closed, and closed again; a handle that comes later is not taken for the old one. */
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  check_all (image);
  check_all (options);
  qcow2blk_image *later[20];
  for (int i = 0; i < 20; i++)
    later[i] = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  check_all (image);
  for (int i = 0; i < 20; i++)
    CHECK_OK (qcow2blk_image_close (later[i], 0));
  qcow2blk_queue *old = queue;
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  queue = make_queue (4);
  check_all (old);
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return 0;
}
