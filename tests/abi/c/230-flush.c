/* After a flush the file itself has all that was written before. */
#include "test.h"

int
main (void)
{
  const char *path = copy_of ("empty.qcow2"), *then = in_folder ("then.qcow2");
  unsigned char *buffer = malloc (MiB);
  qcow2blk_image *image = open_image (path, 0);
  memset (buffer, 0x5e, MiB);
  for (uint64_t i = 0; i < 16; i++)
    CHECK_EQ (MiB, qcow2blk_image_pwrite (image, buffer, MiB, i * 3 * MiB, 0));
  CHECK_OK (qcow2blk_image_flush (image, 0));
  copy_file (path, then);
  run ("qemu-img check -q -f qcow2 %s", then);
  qcow2blk_image *copy = open_image (then, QCOW2BLK_OPEN_READ_ONLY);
  for (uint64_t i = 0; i < 16; i++) {
    check_disk (copy, 0x5e, i * 3 * MiB, MiB);
    check_disk (copy, 0, i * 3 * MiB + MiB, MiB);
  }
  CHECK_EQ (0, qcow2blk_image_flush (copy, 0));
  CHECK_OK (qcow2blk_image_close (copy, 0));

  CHECK_EQ (0, qcow2blk_image_flush (image, 0)); /* with nothing to do */
  CHECK_ERR (EINVAL, qcow2blk_image_flush (image, 1));
  CHECK_ERR (EINVAL, qcow2blk_image_flush (NULL, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  free (buffer);
  return 0;
}
