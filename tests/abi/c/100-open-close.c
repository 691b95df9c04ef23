/* Opening takes the locks of the image, closing gives back everything. */
#include "test.h"

int
main (void)
{
  qcow2blk_image *image, *second;
  const char *path = copy_of ("plain.qcow2");
  CHECK_OK (qcow2blk_image_close (open_image (path, 0), 0)); /* now the runtime is there, with a thread and a descriptor */
  sleep_ms (100);
  int descriptors = count_descriptors (), threads = count_threads ();

  image = open_image (path, 0);
  CHECK_EQ (0, qcow2blk_image_is_read_only (image));
  CHECK_ERR (EBUSY, qcow2blk_image_open (path, NULL, &second, 0));
  CHECK (second == NULL);
  CHECK_ERR (EBUSY, qcow2blk_image_open (path, NULL, &second, QCOW2BLK_OPEN_READ_ONLY));
  CHECK (system (format ("qemu-io -f qcow2 -c 'read 0 512' %s >/dev/null 2>&1", path)) != 0);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-io -f qcow2 -c 'write -P 7 0 512' %s >/dev/null", path);

  image = open_image (path, QCOW2BLK_OPEN_READ_ONLY);
  CHECK_EQ (1, qcow2blk_image_is_read_only (image));
  second = open_image (path, QCOW2BLK_OPEN_READ_ONLY);
  CHECK (image != second);
  check_disk (image, 7, 0, 512);
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_disk (second, 1, 512, 64 * KiB - 512);
  CHECK_OK (qcow2blk_image_close (second, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_close (second, 0));

  CHECK_EQ (descriptors, count_descriptors ());
  for (int i = 0; i < 100 && count_threads () > threads; i++)
    sleep_ms (20);
  CHECK_EQ (threads, count_threads ());
  run ("qemu-img check -q -f qcow2 %s", path);
  return 0;
}
