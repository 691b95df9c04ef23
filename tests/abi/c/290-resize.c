/* Another size for a disk that is in use. */
#include "device.h"

static int
count_dirty (void *user_data, const struct qcow2blk_extent *extent)
{
  *(uint64_t *) user_data += extent->flags & QCOW2BLK_EXTENT_DIRTY ? extent->length : 0;
  return 0;
}

static void
check_image (uint32_t flags)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, flags);
  char buffer[4096] = "x";
  uint64_t dirty = 0;
  CHECK_OK (qcow2blk_image_add_bitmap (image, "b", 64 * KiB, 0));
  CHECK_OK (qcow2blk_image_resize (image, 128 * MiB - 100, 0));
  CHECK_EQ (128 * MiB, qcow2blk_image_size (image));
  check_disk (image, 2, 64 * KiB, 64 * KiB);
  check_disk (image, 0, 64 * MiB, MiB);
  CHECK_EQ (sizeof buffer, qcow2blk_image_pwrite (image, buffer, sizeof buffer, 100 * MiB, 0));
  CHECK_EQ (0, qcow2blk_image_bitmap_status (image, "b", 100 * MiB, MiB, count_dirty, &dirty, 0));
  CHECK_EQ (64 * KiB, dirty);
  CHECK_OK (qcow2blk_image_resize (image, 128 * MiB, 0));
  CHECK_ERR (ERANGE, qcow2blk_image_resize (image, MiB, 0));
  CHECK_EQ (128 * MiB, qcow2blk_image_size (image));
  CHECK_ERR (EINVAL, qcow2blk_image_resize (image, 0, QCOW2BLK_ALLOW_SHRINK));
  CHECK_ERR (EINVAL, qcow2blk_image_resize (image, UINT64_MAX, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_resize (image, MiB, 2));
  CHECK_ERR (EINVAL, qcow2blk_image_resize (NULL, MiB, 0));
  CHECK_OK (qcow2blk_image_resize (image, MiB, QCOW2BLK_ALLOW_SHRINK));
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, buffer, 1, MiB, 0));
  check_disk (image, 16, 15 * 64 * KiB, 64 * KiB);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q %s", path);
  CHECK_CONTAINS ("\"virtual-size\": 1048576", output_of ("qemu-img info --output=json %s", path));
}

static void
check_raw (void)
{
  const char *path = copy_of ("raw.img");
  qcow2blk_options *options;
  qcow2blk_image *image;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "format", "raw", 0));
  CHECK_OK (qcow2blk_image_open (path, options, &image, 0));
  CHECK_OK (qcow2blk_image_resize (image, 2 * MiB, 0));
  check_disk (image, 'Z', MiB - 4096, 4096);
  check_disk (image, 0, MiB, MiB);
  CHECK_OK (qcow2blk_image_resize (image, 64 * KiB, QCOW2BLK_ALLOW_SHRINK));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  CHECK_CONTAINS ("65536", output_of ("stat -c %%s %s", path));
}

static void
check_device (void)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_device *device = attach_named (path, "disk");
  CHECK_OK (qcow2blk_device_resize (device, 128 * MiB, -1, 0));
  check_served ("disk", 0, 100 * MiB, MiB);
  check_served ("disk", 1, 0, 64 * KiB);
  CHECK_ERR (ERANGE, qcow2blk_device_resize (device, MiB, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_resize (device, MiB, -1, 4));
  CHECK_ERR (EINVAL, qcow2blk_device_resize (device, MiB, -2, 0));
  CHECK_OK (qcow2blk_device_resize (device, MiB, -1, QCOW2BLK_ALLOW_SHRINK));
  CHECK_OK (qcow2blk_device_resize (device, 64 * KiB, -1, QCOW2BLK_ALLOW_SHRINK | QCOW2BLK_FORCE_SHRINK));
  CHECK_OK (qcow2blk_device_close (device, 0));
  run ("qemu-img check -q %s", path);
  CHECK_CONTAINS ("\"virtual-size\": 65536", output_of ("qemu-img info --output=json %s", path));
}

int
main (void)
{
  use_own_runtime_folder ();
  check_image (0);
  check_image (QCOW2BLK_OPEN_CALLER_LOOP);
  check_raw ();
  check_device ();
  qcow2blk_image *image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_ERR (EROFS, qcow2blk_image_resize (image, 128 * MiB, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
