/* Several buffers are filled or taken one after the other, empty ones too. */
#include "test.h"

static unsigned char bytes[8][100 * KiB];

static struct iovec
piece (int index, size_t length)
{
  return (struct iovec) { .iov_base = length == 0 ? NULL : bytes[index], .iov_len = length };
}

int
main (void)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, 0);

  struct iovec in[] = { piece (0, 333), piece (1, 0), piece (2, 100 * KiB), piece (3, 1) };
  CHECK_EQ (334 + 100 * KiB, qcow2blk_image_preadv (image, in, 4, 64 * KiB - 333, 0));
  CHECK_BYTES (1, bytes[0], 333);
  CHECK_BYTES (2, bytes[2], 64 * KiB);
  CHECK_BYTES (3, bytes[2] + 64 * KiB, 36 * KiB);
  CHECK_BYTES (3, bytes[3], 1);
  CHECK_EQ (0, bytes[0][333]);

  for (int i = 4; i < 8; i++)
    memset (bytes[i], 0xd0 + i, sizeof bytes[i]);
  struct iovec out[] = { piece (4, 7), piece (5, 70 * KiB), piece (6, 0), piece (7, 100 * KiB) };
  CHECK_EQ (170 * KiB + 7, qcow2blk_image_pwritev (image, out, 4, 10 * MiB - 3, QCOW2BLK_FUA));
  check_disk (image, 0xd4, 10 * MiB - 3, 7);
  check_disk (image, 0xd5, 10 * MiB + 4, 70 * KiB);
  check_disk (image, 0xd7, 10 * MiB + 4 + 70 * KiB, 100 * KiB);
  check_disk (image, 0, 10 * MiB + 4 + 170 * KiB, 64 * KiB);

  struct iovec many[1025];
  for (int i = 0; i < 1025; i++)
    many[i] = (struct iovec) { .iov_base = bytes[4] + i, .iov_len = 1 };
  CHECK_EQ (1024, qcow2blk_image_preadv (image, many, 1024, 128 * KiB, 0));
  CHECK_BYTES (3, bytes[4], 1024);
  CHECK_EQ (0xd4, bytes[4][1024]);
  CHECK_EQ (1024, qcow2blk_image_pwritev (image, many, 1024, 20 * MiB, 0));
  check_disk (image, 3, 20 * MiB, 1024);

  CHECK_ERR (EINVAL, qcow2blk_image_preadv (image, many, 1025, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwritev (image, many, 1025, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_preadv (image, many, -1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwritev (image, many, -1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_preadv (image, NULL, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwritev (image, NULL, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_preadv (image, many, 1, 64 * MiB, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwritev (image, many, 1, 64 * MiB, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_preadv (image, many, 1, 0, 1));
  CHECK_EQ (0, qcow2blk_image_preadv (image, many, 0, 0, 0));
  CHECK_EQ (0, qcow2blk_image_pwritev (image, many, 0, 0, 0));
  struct iovec bad[] = { piece (0, 1), { .iov_base = NULL, .iov_len = 1 } };
  CHECK_ERR (EINVAL, qcow2blk_image_preadv (image, bad, 2, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwritev (image, bad, 2, 0, 0));
  struct iovec huge[] = { { bytes[0], SIZE_MAX / 2 + 1 }, { bytes[0], SIZE_MAX / 2 + 1 } };
  CHECK_ERR (EINVAL, qcow2blk_image_preadv (image, huge, 2, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwritev (image, huge, 2, 0, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_with_qemu (path, 0xd5, 10 * MiB + 512, 64 * KiB);

  image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_ERR (EROFS, qcow2blk_image_pwritev (image, many, 1, 0, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
