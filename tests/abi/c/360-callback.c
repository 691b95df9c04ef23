/* Callbacks run on the thread of the image, may submit requests, and may not wait. */
#include "aio.h"

#include <sys/syscall.h>

#define CHAIN 200

static qcow2blk_image *image;
static qcow2blk_queue *queue;
static struct counter ended = COUNTER, refused = COUNTER;
static char buffer[512];
static long thread_of_image;

static void
submit_next (void *user_data, int64_t result)
{
  int *left = user_data;
  CHECK_EQ (512, result);
  CHECK (syscall (SYS_gettid) != getpid ());
  if (thread_of_image == 0)
    thread_of_image = syscall (SYS_gettid);
  CHECK_EQ (thread_of_image, syscall (SYS_gettid));
  if (--*left > 0) {
    struct qcow2blk_notify notify = to_callback (submit_next, left);
    CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffer, 512, (uint64_t) *left * 512, &notify, 0));
  }
  count (&ended);
}

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
try_to_wait (void *user_data, int64_t result)
{
  qcow2blk_image *other = NULL;
  qcow2blk_device *device = NULL;
  struct iovec iov = { buffer, 1 };
  CHECK_EQ (1, result);
  CHECK_ERR (EDEADLK, qcow2blk_image_pread (image, buffer, 1, 0, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_pwrite (image, buffer, 1, 0, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_preadv (image, &iov, 1, 0, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_pwritev (image, &iov, 1, 0, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_flush (image, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_discard (image, 0, 1, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_write_zeroes (image, 0, 1, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_block_status (image, 0, 1, ignore_extent, NULL, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_list_snapshots (image, ignore_snapshot, NULL, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_info (image, NULL, 0, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_close (image, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_open (user_data, NULL, &other, 0));
  CHECK_ERR (EDEADLK, qcow2blk_device_attach (user_data, NULL, &device, 0));
  CHECK (other == NULL && device == NULL);
  /* What does not wait works. */
  CHECK_EQ (64 * MiB, qcow2blk_image_size (image));
  CHECK_OK (qcow2blk_image_in_flight (image));
  CHECK_OK (qcow2blk_queue_fd (queue));
  count (&refused);
}

int
main (void)
{
  int left[4];
  image = open_copy ("plain.qcow2");
  queue = make_queue (1);
  for (int i = 0; i < 4; i++) {
    struct qcow2blk_notify notify = to_callback (submit_next, &left[i]);
    left[i] = CHAIN;
    CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffer, 512, 0, &notify, 0));
  }
  wait_until (&ended, 4 * CHAIN);

  struct qcow2blk_notify notify = to_callback (try_to_wait, (void *) shared_image ("v2.qcow2"));
  CHECK_EQ (0, qcow2blk_image_aio_pwrite (image, buffer, 1, 0, &notify, 0));
  wait_until (&refused, 1);
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return 0;
}
