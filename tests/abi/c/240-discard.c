/* A discard frees whole clusters, leaves parts of clusters, and never shows what a backing file has. */
#include "test.h"

static int
tell_flags (void *user_data, const struct qcow2blk_extent *extent)
{
  *(uint32_t *) user_data = extent->flags;
  return 1;
}

int
main (void)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  CHECK_EQ (0, qcow2blk_image_discard (image, 64 * KiB - 100, 128 * KiB + 200, 0));
  check_disk (image, 1, 0, 64 * KiB);
  check_disk (image, 0, 64 * KiB, 128 * KiB);
  check_disk (image, 4, 192 * KiB, 64 * KiB);
  uint32_t flags = 0;
  CHECK_EQ (1, qcow2blk_image_block_status (image, 64 * KiB, 64 * KiB, tell_flags, &flags, 0));
  CHECK_EQ (QCOW2BLK_EXTENT_HOLE | QCOW2BLK_EXTENT_ZERO, flags);
  CHECK_EQ (0, qcow2blk_image_discard (image, 0, 0, 0));
  CHECK_EQ (0, qcow2blk_image_discard (image, 4 * MiB, 60 * MiB, QCOW2BLK_FUA));
  CHECK_ERR (EINVAL, qcow2blk_image_discard (image, 0, 64 * MiB + 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_discard (image, UINT64_MAX, 2, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_discard (image, 0, 64 * KiB, QCOW2BLK_NO_HOLE));
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_with_qemu (path, 0, 64 * KiB, 128 * KiB);
  check_with_qemu (path, 4, 192 * KiB, 64 * KiB);

  path = copy_of_overlay ();
  image = open_image (path, 0);
  CHECK_EQ (0, qcow2blk_image_discard (image, 0, MiB, QCOW2BLK_FUA));
  check_disk (image, 0, 0, MiB);
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_with_qemu (path, 0, 0, MiB);

  image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_ERR (EROFS, qcow2blk_image_discard (image, 0, 64 * KiB, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
