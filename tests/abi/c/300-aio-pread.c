/* Many reads are in flight at once; each ends once, with its own data. What is refused at once never ends. */
#include "aio.h"

#define REQUESTS 1000

static unsigned char buffers[REQUESTS][4096];
static int seen[REQUESTS];

static void
check_many (const char *name)
{
  qcow2blk_image *image = open_image (shared_image (name), QCOW2BLK_OPEN_READ_ONLY);
  qcow2blk_queue *queue = make_queue (REQUESTS);
  struct qcow2blk_completion done[64];
  memset (buffers, 0xee, sizeof buffers);
  memset (seen, 0, sizeof seen);
  for (int i = 0; i < REQUESTS; i++) {
    struct qcow2blk_notify notify = to_queue (queue, &seen[i]);
    CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffers[i], 4096, (uint64_t) i * 4099, &notify, 0));
    memset (&notify, 0xff, sizeof notify); /* it was read already */
  }
  for (int i = 0; i < REQUESTS;) {
    int count = qcow2blk_queue_wait (queue, done, 64, 30000, 0);
    CHECK (count > 0);
    for (int j = 0; j < count; j++) {
      CHECK_EQ (4096, done[j].result);
      CHECK_EQ (1, ++*(int *) done[j].user_data);
    }
    i += count;
  }
  for (int i = 0; i < REQUESTS; i++)
    for (int j = 0; j < 4096; j++) {
      int at = i * 4099 + j, expected = at < 4 * MiB ? at / (64 * KiB) + 1 : 0;
      if (buffers[i][j] != expected) FAIL ("%s: byte %d: expected %d, got %d", name, at, expected, buffers[i][j]);
    }
  CHECK_EQ (0, qcow2blk_image_in_flight (image));
  CHECK_EQ (0, qcow2blk_queue_wait (queue, done, 64, 0, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
}

static void
check_refused (void)
{
  char buffer[2];
  qcow2blk_image *image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  qcow2blk_queue *queue = make_queue (4);
  struct qcow2blk_completion done;
  struct qcow2blk_notify good = to_queue (queue, NULL), bad;
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, buffer, 1, 0, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, NULL, 1, 0, &good, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (NULL, buffer, 1, 0, &good, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, buffer, 2, 64 * MiB - 1, &good, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, buffer, 1, UINT64_MAX, &good, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, buffer, 1, 0, &good, QCOW2BLK_FUA));
  bad = to_queue (NULL, NULL);
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, buffer, 1, 0, &bad, 0));
  bad = to_queue ((qcow2blk_queue *) image, NULL);
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, buffer, 1, 0, &bad, 0));
  bad = good;
  bad.size = 4;
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pread (image, buffer, 1, 0, &bad, 0));
  CHECK_EQ (0, qcow2blk_queue_wait (queue, &done, 1, 100, 0));

  CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffer, 0, 0, &good, 0));
  CHECK_EQ (0, only_result (queue, NULL));
  CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffer, 1, 64 * MiB - 1, &good, 0));
  CHECK_EQ (1, only_result (queue, NULL));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
}

/* What waits in the queue counts, too: it never holds more than its depth. */
static void
check_bound (void)
{
  static char buffer[5][512];
  qcow2blk_image *image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  qcow2blk_queue *queue = make_queue (4);
  struct qcow2blk_notify notify = to_queue (queue, NULL);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 4; i++)
      CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffer[i], 512, 0, &notify, 0));
    CHECK_ERR (EAGAIN, qcow2blk_image_aio_pread (image, buffer[4], 512, 0, &notify, 0));
    for (int i = 0; i < 1000 && qcow2blk_image_in_flight (image) > 0; i++)
      sleep_ms (10);
    CHECK_ERR (EAGAIN, qcow2blk_image_aio_pread (image, buffer[4], 512, 0, &notify, 0));
    for (int i = 0; i < 4; i++)
      CHECK_EQ (512, next_completion (queue).result);
  }
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
}

int
main (void)
{
  check_many ("plain.qcow2");
  check_many ("compressed.qcow2");
  check_refused ();
  check_bound ();
  return 0;
}
