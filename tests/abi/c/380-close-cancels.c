/* Closing ends every request: each has its completion when close returns, and what was told as written is on the disk. */
#include "aio.h"

#define REQUESTS 2000
#define LENGTH (20 * KiB)

static unsigned char buffers[REQUESTS][LENGTH];
static int64_t results[REQUESTS];
static int count_ended;

static void
on_end (void *user_data, int64_t result)
{
  *(int64_t *) user_data = result;
  __atomic_add_fetch (&count_ended, 1, __ATOMIC_SEQ_CST);
}

static void
submit_all (qcow2blk_image *image, qcow2blk_queue *queue)
{
  count_ended = 0;
  for (int i = 0; i < REQUESTS; i++) {
    struct qcow2blk_notify notify = queue != NULL ? to_queue (queue, &results[i]) : to_callback (on_end, &results[i]);
    memset (buffers[i], 1 + i % 255, LENGTH);
    results[i] = 1;
    CHECK_EQ (0, qcow2blk_image_aio_pwrite (image, buffers[i], LENGTH, (uint64_t) i * LENGTH, &notify, 0));
  }
}

static void
check_results (const char *path)
{
  int cancelled = 0;
  qcow2blk_image *image = open_image (path, QCOW2BLK_OPEN_READ_ONLY);
  for (int i = 0; i < REQUESTS; i++)
    if (results[i] == LENGTH)
      check_disk (image, 1 + i % 255, (uint64_t) i * LENGTH, LENGTH);
    else {
      CHECK_EQ (-ECANCELED, results[i]);
      cancelled++;
    }
  printf ("%d of %d were cancelled\n", cancelled, REQUESTS);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q -f qcow2 %s", path);
}

int
main (void)
{
  const char *path = copy_of ("empty.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  submit_all (image, NULL);
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_EQ (REQUESTS, count_ended);
  memset (buffers, 0, sizeof buffers); /* none is in use */
  check_results (path);

  qcow2blk_queue *queue = make_queue (REQUESTS);
  static struct qcow2blk_completion done[REQUESTS];
  path = copy_of ("empty.qcow2");
  image = open_image (path, 0);
  submit_all (image, queue);
  CHECK_OK (qcow2blk_image_close (image, 0));
  for (int i = 0; i < REQUESTS;) {
    int count = qcow2blk_queue_wait (queue, done, REQUESTS, 0, 0);
    CHECK (count > 0); /* all of them wait there */
    for (int j = 0; j < count; j++)
      *(int64_t *) done[j].user_data = done[j].result;
    i += count;
  }
  check_results (path);

  /* Nobody drives this one, so nothing has begun. */
  path = copy_of ("empty.qcow2");
  image = open_image (path, QCOW2BLK_OPEN_CALLER_LOOP);
  submit_all (image, NULL);
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_EQ (REQUESTS, count_ended);
  check_results (path);
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return 0;
}
