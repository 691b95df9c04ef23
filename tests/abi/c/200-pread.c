/* Reads are whole, need no alignment, and never leave the disk. */
#include "test.h"

/* Cluster i of plain.qcow2 is filled with i + 1. */
static void
check_plain (qcow2blk_image *image)
{
  for (int i = 0; i < 64; i++)
    check_disk (image, i + 1, (uint64_t) i * 64 * KiB, 64 * KiB);
  check_disk (image, 0, 4 * MiB, MiB);
  check_disk (image, 64, 64 * 64 * KiB - 1, 1);
  check_disk (image, 0, 64 * MiB - 1, 1);

  unsigned char buffer[1000];
  CHECK_EQ (1000, qcow2blk_image_pread (image, buffer, 1000, 64 * KiB - 333, 0));
  CHECK_BYTES (1, buffer, 333);
  CHECK_BYTES (2, buffer + 333, 667);

  /* More than one cluster of all kinds in one request. */
  unsigned char *all = malloc (6 * MiB);
  CHECK_EQ (6 * MiB - 7, qcow2blk_image_pread (image, all, 6 * MiB - 7, 7, 0));
  for (int i = 7; i < 6 * MiB; i++)
    if (all[i - 7] != (i < 4 * MiB ? i / (64 * KiB) + 1 : 0)) FAIL ("byte %d is 0x%02x", i, all[i - 7]);
  free (all);
}

static void
check_refused (qcow2blk_image *image)
{
  char buffer[2] = "x";
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, buffer, 2, 64 * MiB - 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, buffer, 1, 64 * MiB, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, buffer, 1, UINT64_MAX, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, buffer, SIZE_MAX, 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, buffer, 1, (uint64_t) 1 << 63, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, NULL, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, buffer, 1, 0, QCOW2BLK_FUA));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (NULL, buffer, 1, 0, 0));
  CHECK_STR ("x", buffer);
  CHECK_EQ (0, qcow2blk_image_pread (image, buffer, 0, 0, 0));
  CHECK_EQ (0, qcow2blk_image_pread (image, buffer, 0, 64 * MiB, 0));
}

int
main (void)
{
  const char *alike[] = { "plain.qcow2", "compressed.qcow2", "zstd.qcow2" };
  for (int i = 0; i < 3; i++) {
    qcow2blk_image *image = open_image (shared_image (alike[i]), QCOW2BLK_OPEN_READ_ONLY);
    check_plain (image);
    check_plain (image); /* now all of it is cached */
    check_refused (image);
    CHECK_OK (qcow2blk_image_close (image, 0));
  }

  qcow2blk_image *image = open_image (shared_image ("overlay.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  check_disk (image, 0x11, 0, 512 * KiB);
  check_disk (image, 0x22, 512 * KiB, 256 * KiB);
  check_disk (image, 0, 768 * KiB, 64 * KiB);
  check_disk (image, 0x11, 832 * KiB, 192 * KiB);
  check_disk (image, 0, MiB, 15 * MiB);
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
