/* Requests without data do what those do that wait. */
#include "aio.h"

int
main (void)
{
  const char *path = copy_of ("plain.qcow2"), *then = in_folder ("then.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  qcow2blk_queue *queue = make_queue (100);
  struct qcow2blk_notify notify = to_queue (queue, image);

  CHECK_EQ (0, qcow2blk_image_aio_discard (image, 64 * KiB - 100, 128 * KiB + 200, &notify, 0));
  CHECK_EQ (0, only_result (queue, image));
  check_disk (image, 1, 0, 64 * KiB);
  check_disk (image, 0, 64 * KiB, 128 * KiB);
  check_disk (image, 4, 192 * KiB, 64 * KiB);

  CHECK_EQ (0, qcow2blk_image_aio_write_zeroes (image, 320 * KiB + 7, 64 * KiB, &notify, 0));
  CHECK_EQ (0, only_result (queue, image));
  check_disk (image, 6, 320 * KiB, 7);
  check_disk (image, 0, 320 * KiB + 7, 64 * KiB);
  check_disk (image, 7, 384 * KiB + 7, 64 * KiB - 7);
  CHECK_EQ (0, qcow2blk_image_aio_write_zeroes (image, MiB, 64 * KiB, &notify, QCOW2BLK_NO_HOLE | QCOW2BLK_FUA));
  CHECK_EQ (0, only_result (queue, image));
  check_disk (image, 0, MiB, 64 * KiB);

  /* Flushes that meet: all of them end, and cover what was written before. */
  CHECK_EQ (1, qcow2blk_image_pwrite (image, "F", 1, 40 * MiB, 0));
  for (int i = 0; i < 100; i++)
    CHECK_EQ (0, qcow2blk_image_aio_flush (image, &notify, 0));
  for (int i = 0; i < 100; i++)
    CHECK_EQ (0, next_completion (queue).result);
  copy_file (path, then);
  check_with_qemu (then, 'F', 40 * MiB, 1);

  CHECK_ERR (EINVAL, qcow2blk_image_aio_flush (image, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_flush (image, &notify, 1));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_discard (image, 0, 1, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_discard (image, 0, 64 * MiB + 1, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_discard (image, 0, 1, &notify, QCOW2BLK_FAST_ZERO));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_write_zeroes (image, 0, 1, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_write_zeroes (image, UINT64_MAX, 2, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_write_zeroes (image, 0, 1, &notify, 8));
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_with_qemu (path, 0, 64 * KiB, 128 * KiB);

  image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_ERR (EROFS, qcow2blk_image_aio_discard (image, 0, 64 * KiB, &notify, 0));
  CHECK_ERR (EROFS, qcow2blk_image_aio_write_zeroes (image, 0, 64 * KiB, &notify, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return 0;
}
