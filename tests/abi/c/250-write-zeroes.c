/* A write of zeroes is exact to the byte, and keeps the space if it is told to. */
#include "test.h"

static int
tell_extent (void *user_data, const struct qcow2blk_extent *extent)
{
  *(struct qcow2blk_extent *) user_data = *extent;
  return 1;
}

/* Zeroes from from to to in plain.qcow2, and nothing else changed. */
static void
check_range (qcow2blk_image *image, uint64_t from, uint64_t to)
{
  check_disk (image, 1, 0, from);
  check_disk (image, 0, from, to - from);
  check_disk (image, 3, to, 192 * KiB - to);
}

int
main (void)
{
  struct qcow2blk_extent extent;
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  CHECK_EQ (0, qcow2blk_image_write_zeroes (image, 64 * KiB - 77, 64 * KiB + 154, 0));
  check_range (image, 64 * KiB - 77, 128 * KiB + 77);
  CHECK_EQ (1, qcow2blk_image_block_status (image, 64 * KiB, 64 * KiB, tell_extent, &extent, 0));
  CHECK_EQ (QCOW2BLK_EXTENT_HOLE | QCOW2BLK_EXTENT_ZERO, extent.flags);

  CHECK_EQ (0, qcow2blk_image_write_zeroes (image, 256 * KiB, 64 * KiB, QCOW2BLK_NO_HOLE | QCOW2BLK_FUA));
  check_disk (image, 0, 256 * KiB, 64 * KiB);
  CHECK_EQ (1, qcow2blk_image_block_status (image, 256 * KiB, 64 * KiB, tell_extent, &extent, 0));
  CHECK_EQ (0, extent.flags & QCOW2BLK_EXTENT_HOLE);
  CHECK_EQ (1, extent.depth);

  /* Whole clusters are fast; a part of one would have to be written. */
  CHECK_EQ (0, qcow2blk_image_write_zeroes (image, 512 * KiB, 128 * KiB, QCOW2BLK_FAST_ZERO));
  check_disk (image, 0, 512 * KiB, 128 * KiB);
  int result = qcow2blk_image_write_zeroes (image, MiB + 5, 100, QCOW2BLK_FAST_ZERO);
  CHECK (result == 0 || result == -EOPNOTSUPP);
  check_disk (image, result == 0 ? 0 : 17, MiB + 5, 100);
  check_disk (image, 17, MiB + 105, 64 * KiB - 105);

  CHECK_EQ (0, qcow2blk_image_write_zeroes (image, 0, 0, 0));
  CHECK_EQ (0, qcow2blk_image_write_zeroes (image, 64 * MiB - 1, 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_write_zeroes (image, 64 * MiB - 1, 2, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_write_zeroes (image, UINT64_MAX, UINT64_MAX, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_write_zeroes (image, 0, 1, 8));
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_with_qemu (path, 0, 64 * KiB - 77, 64 * KiB + 154);
  check_with_qemu (path, 17, MiB + 105, 1000);

  path = copy_of_overlay ();
  image = open_image (path, 0);
  CHECK_EQ (0, qcow2blk_image_write_zeroes (image, 1, MiB - 1, QCOW2BLK_FUA));
  check_disk (image, 0x11, 0, 1);
  check_disk (image, 0, 1, MiB - 1);
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_with_qemu (path, 0, 1, MiB - 1);

  image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_ERR (EROFS, qcow2blk_image_write_zeroes (image, 0, 64 * KiB, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
