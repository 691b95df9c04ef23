/* Vectors are copied when a request begins, their buffers are not. */
#include "aio.h"

static unsigned char bytes[3][100 * KiB];

int
main (void)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  qcow2blk_queue *queue = make_queue (8);
  struct qcow2blk_notify notify = to_queue (queue, bytes);
  struct iovec iov[1025] = { { bytes[0], 333 }, { NULL, 0 }, { bytes[1], 100 * KiB }, { bytes[2], 1 } }, copy[4];
  memcpy (copy, iov, sizeof copy);

  CHECK_EQ (0, qcow2blk_image_aio_preadv (image, copy, 4, 64 * KiB - 333, &notify, 0));
  memset (copy, 0xff, sizeof copy);
  CHECK_EQ (334 + 100 * KiB, only_result (queue, bytes));
  CHECK_BYTES (1, bytes[0], 333);
  CHECK_BYTES (2, bytes[1], 64 * KiB);
  CHECK_BYTES (3, bytes[1] + 64 * KiB, 36 * KiB);
  CHECK_EQ (3, bytes[2][0]);
  CHECK_EQ (0, bytes[2][1]);

  for (int i = 0; i < 3; i++)
    memset (bytes[i], 0xe0 + i, sizeof bytes[i]);
  memcpy (copy, iov, sizeof copy);
  CHECK_EQ (0, qcow2blk_image_aio_pwritev (image, copy, 4, 10 * MiB - 3, &notify, QCOW2BLK_FUA));
  memset (copy, 0xff, sizeof copy);
  CHECK_EQ (334 + 100 * KiB, only_result (queue, bytes));
  check_disk (image, 0xe0, 10 * MiB - 3, 333);
  check_disk (image, 0xe1, 10 * MiB + 330, 100 * KiB);
  check_disk (image, 0xe2, 10 * MiB + 330 + 100 * KiB, 1);

  CHECK_ERR (EINVAL, qcow2blk_image_aio_preadv (image, iov, 1025, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwritev (image, iov, 1025, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_preadv (image, iov, -1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwritev (image, iov, -1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_preadv (image, NULL, 1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwritev (image, NULL, 1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_preadv (image, iov, 1, 64 * MiB, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwritev (image, iov, 1, 64 * MiB, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_preadv (image, iov, 1, 0, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwritev (image, iov, 1, 0, NULL, 0));
  struct iovec bad = { NULL, 1 };
  CHECK_ERR (EINVAL, qcow2blk_image_aio_preadv (image, &bad, 1, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_pwritev (image, &bad, 1, 0, &notify, 0));

  CHECK_EQ (0, qcow2blk_image_aio_preadv (image, iov, 0, 0, &notify, 0));
  CHECK_EQ (0, only_result (queue, bytes));
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_with_qemu (path, 0xe1, 10 * MiB + 512, 64 * KiB);

  image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_ERR (EROFS, qcow2blk_image_aio_pwritev (image, iov, 1, 0, &notify, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return 0;
}
