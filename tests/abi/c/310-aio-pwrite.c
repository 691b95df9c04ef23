/* Many writes are in flight at once, on new and on used clusters; with QCOW2BLK_FUA one has survived when it ends. */
#include "aio.h"

#define REQUESTS 512
#define LENGTH (24 * KiB) /* so that neighbours share clusters */

static unsigned char buffers[REQUESTS][LENGTH];

static void
check_many (const char *name)
{
  const char *path = copy_of (name);
  qcow2blk_image *image = open_image (path, 0);
  qcow2blk_queue *queue = make_queue (REQUESTS);
  for (int i = 0; i < REQUESTS; i++) {
    struct qcow2blk_notify notify = to_queue (queue, &buffers[i]);
    memset (buffers[i], i * 7, LENGTH);
    CHECK_EQ (0, qcow2blk_image_aio_pwrite (image, buffers[i], LENGTH, (uint64_t) i * LENGTH, &notify, 0));
  }
  for (int i = 0; i < REQUESTS; i++)
    CHECK_EQ (LENGTH, next_completion (queue).result);
  for (int i = 0; i < REQUESTS; i++)
    check_disk (image, i * 7, (uint64_t) i * LENGTH, LENGTH);
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  check_with_qemu (path, 77 * 7 & 255, 77 * LENGTH, LENGTH);
}

int
main (void)
{
  check_many ("empty.qcow2");
  check_many ("plain.qcow2");
  check_many ("compressed.qcow2");

  const char *path = copy_of ("empty.qcow2"), *then = in_folder ("then.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  qcow2blk_queue *queue = make_queue (1);
  struct qcow2blk_notify notify = to_queue (queue, image);
  memset (buffers[0], 0x77, LENGTH);
  CHECK_EQ (0, qcow2blk_image_aio_pwrite (image, buffers[0], LENGTH, 9 * MiB, &notify, QCOW2BLK_FUA));
  CHECK_EQ (LENGTH, only_result (queue, image));
  copy_file (path, then);
  check_with_qemu (then, 0x77, 9 * MiB, LENGTH);

  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwrite (image, NULL, 1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwrite (image, buffers[0], 1, 64 * MiB, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwrite (image, buffers[0], 1, 0, &notify, QCOW2BLK_NO_HOLE));
  CHECK_OK (qcow2blk_image_close (image, 0));

  image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_ERR (EROFS, qcow2blk_image_aio_pwrite (image, buffers[0], 1, 0, &notify, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return 0;
}
