/* Writes are whole, need no alignment, keep what is around them, and survive with QCOW2BLK_FUA. */
#include "test.h"

static void
write_bytes (qcow2blk_image *image, int byte, uint64_t offset, size_t count, uint32_t flags)
{
  unsigned char *buffer = malloc (count);
  memset (buffer, byte, count);
  CHECK_EQ (count, qcow2blk_image_pwrite (image, buffer, count, offset, flags));
  free (buffer);
}

static void
check_written (const char *name)
{
  const char *path = copy_of (name);
  qcow2blk_image *image = open_image (path, 0);
  write_bytes (image, 0xa1, 100, 1000, 0);                              /* in place, unaligned */
  write_bytes (image, 0xa2, 128 * KiB - 5, 64 * KiB + 10, 0);           /* over three clusters */
  write_bytes (image, 0xa3, 32 * MiB + 1, 3 * MiB, 0);                  /* where nothing was */
  write_bytes (image, 0xa4, 64 * MiB - 1, 1, 0);                        /* the last byte */
  for (int round = 0; round < 2; round++) {
    check_disk (image, 1, 0, 100);
    check_disk (image, 0xa1, 100, 1000);
    check_disk (image, 1, 1100, 64 * KiB - 1100);
    check_disk (image, 2, 64 * KiB, 64 * KiB - 5);
    check_disk (image, 0xa2, 128 * KiB - 5, 64 * KiB + 10);
    check_disk (image, 4, 192 * KiB + 5, 64 * KiB - 5);
    check_disk (image, 0, 32 * MiB, 1);
    check_disk (image, 0xa3, 32 * MiB + 1, 3 * MiB);
    check_disk (image, 0, 35 * MiB + 1, MiB);
    check_disk (image, 0, 64 * MiB - 512, 511);
    check_disk (image, 0xa4, 64 * MiB - 1, 1);
    CHECK_OK (qcow2blk_image_close (image, 0));
    image = open_image (path, 0);
  }
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_with_qemu (path, 0xa3, 32 * MiB + 512, 2 * MiB);
}

/* Over a backing file: the rest of a cluster comes from there, and nothing goes there. */
static void
check_overlay (void)
{
  const char *path = copy_of_overlay ();
  qcow2blk_image *image = open_image (path, 0);
  write_bytes (image, 0xb1, 10, 20, 0);
  write_bytes (image, 0xb2, 768 * KiB + 10, 20, 0);
  check_disk (image, 0x11, 0, 10);
  check_disk (image, 0xb1, 10, 20);
  check_disk (image, 0x11, 30, 64 * KiB - 30);
  check_disk (image, 0, 768 * KiB, 10);
  check_disk (image, 0xb2, 768 * KiB + 10, 20);
  check_disk (image, 0, 768 * KiB + 30, 64 * KiB - 30);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q -f qcow2 %s", path);
  run ("cmp %s %s", in_folder ("base.qcow2"), shared_image ("base.qcow2"));
}

/* The file as it is when the call returns, without a flush or a close, has what was written. */
static void
check_fua (void)
{
  const char *path = copy_of ("empty.qcow2"), *then = in_folder ("then.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  write_bytes (image, 0xc1, 5 * MiB, 128 * KiB, QCOW2BLK_FUA);
  copy_file (path, then);
  check_with_qemu (then, 0xc1, 5 * MiB, 128 * KiB);
  CHECK_OK (qcow2blk_image_close (image, 0));
}

int
main (void)
{
  check_written ("plain.qcow2");
  check_written ("compressed.qcow2");
  check_overlay ();
  check_fua ();

  qcow2blk_image *image = open_copy ("v2.qcow2");
  write_bytes (image, 9, 1, MiB - 2, 0);
  check_disk (image, 0, 0, 1);
  check_disk (image, 9, 1, MiB - 2);
  check_disk (image, 0, MiB - 1, 1);
  char byte = 'x';
  CHECK_ERR (EINVAL, qcow2blk_image_pwrite (image, &byte, 1, MiB, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwrite (image, &byte, 1, UINT64_MAX, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwrite (image, &byte, SIZE_MAX, 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwrite (image, NULL, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_pwrite (image, &byte, 1, 0, QCOW2BLK_NO_HOLE));
  CHECK_EQ (0, qcow2blk_image_pwrite (image, &byte, 0, 0, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));

  image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_ERR (EROFS, qcow2blk_image_pwrite (image, &byte, 1, 0, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
