/* Snapshots and bitmaps of a device that is in use, also by a handle of another kind. */
#include "device.h"

static int
count_snapshot (void *user_data, const struct qcow2blk_snapshot *snapshot)
{
  CHECK_EQ (64 * MiB, snapshot->disk_size);
  CHECK (snapshot->date_seconds > 1700000000);
  CHECK_STR ("one", snapshot->name);
  CHECK_STR ("1", snapshot->id);
  (*(int *) user_data)++;
  return 0;
}

static int
keep_bitmap (void *user_data, const struct qcow2blk_bitmap *bitmap)
{
  *(struct qcow2blk_bitmap *) user_data = *bitmap;
  return 5;
}

static void
write_served (const char *name, int byte, long long offset, long long length)
{
  run ("qemu-io -f raw -c 'write -P %d %lld %lld' %s | (! grep -iE 'fail|error' >&2)", byte, offset, length, uri_of (name));
}

/* An encrypted one is opened again after a suspend and after a revert, when the options with its key are closed. */
static void
check_encrypted (void)
{
  const char *path = in_folder ("luks.qcow2");
  qcow2blk_options *options;
  qcow2blk_device *device;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "encrypt.format", "luks", 0));
  CHECK_OK (qcow2blk_options_set (options, "encrypt.iter-time", "10", 0));
  CHECK_OK (qcow2blk_options_set_key (options, "open sesame", 11, 0));
  CHECK_OK (qcow2blk_create (path, 4 * MiB, options, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "socket", format ("%s/luks.sock", test_folder ()), 0));
  CHECK_ERR (ENOENT, qcow2blk_device_attach (path, options, &device, 0));
  CHECK_OK (qcow2blk_options_set_key (options, "open sesame", 11, 0));
  CHECK_OK (qcow2blk_device_attach (path, options, &device, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  write_served ("luks", 0x17, 0, 64 * KiB);
  CHECK_OK (qcow2blk_device_suspend (device, -1, 0));
  CHECK_OK (qcow2blk_device_resume (device, -1, 0));
  check_served ("luks", 0x17, 0, 64 * KiB);
  CHECK_OK (qcow2blk_device_create_snapshot (device, "one", NULL, 0, -1, 0));
  write_served ("luks", 0x18, 0, 64 * KiB);
  CHECK_OK (qcow2blk_device_revert_snapshot (device, "one", -1, QCOW2BLK_FORCE));
  check_served ("luks", 0x17, 0, 64 * KiB);
  CHECK_OK (qcow2blk_device_close (device, 0));
}

int
main (void)
{
  use_own_runtime_folder ();
  check_encrypted ();
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_device *device = attach_named (path, "disk"), *found;
  char id[QCOW2BLK_SNAPSHOT_ID_SIZE];
  CHECK_OK (qcow2blk_device_open ("disk", &found, 0));
  CHECK_OK (qcow2blk_device_create_snapshot (device, "one", id, sizeof id, -1, 0));
  CHECK_STR ("1", id);
  int count = 0;
  CHECK_EQ (0, qcow2blk_device_list_snapshots (found, count_snapshot, &count, -1, 0));
  CHECK_EQ (1, count);
  write_served ("disk", 0xcc, 0, 64 * KiB);
  CHECK_ERR (EBUSY, qcow2blk_device_revert_snapshot (found, "one", -1, 0));
  check_served ("disk", 0xcc, 0, 64 * KiB);
  CHECK_OK (qcow2blk_device_revert_snapshot (found, "one", -1, QCOW2BLK_FORCE));
  check_served ("disk", 1, 0, 64 * KiB);
  CHECK_ERR (ENOENT, qcow2blk_device_delete_snapshot (device, "two", -1, 0));
  CHECK_OK (qcow2blk_device_delete_snapshot (device, "one", -1, 0));
  CHECK_EQ (0, qcow2blk_device_list_snapshots (found, count_snapshot, &count, -1, 0));
  CHECK_EQ (1, count);

  struct qcow2blk_bitmap bitmap;
  CHECK_OK (qcow2blk_device_add_bitmap (device, "monday", 64 * KiB, -1, 0));
  CHECK_OK (qcow2blk_device_add_bitmap (device, "week", 0, -1, QCOW2BLK_BITMAP_DISABLED));
  CHECK_ERR (EEXIST, qcow2blk_device_add_bitmap (found, "week", 0, -1, 0));
  write_served ("disk", 0xcd, MiB, 128 * KiB);
  CHECK_EQ (5, qcow2blk_device_list_bitmaps (found, keep_bitmap, &bitmap, -1, 0));
  CHECK_EQ (QCOW2BLK_BITMAP_RECORDS, bitmap.flags);
  CHECK_EQ (128 * KiB, bitmap.dirty_bytes);
  CHECK_OK (qcow2blk_device_disable_bitmap (device, "monday", -1, 0));
  CHECK_OK (qcow2blk_device_merge_bitmap (device, "week", "monday", -1, 0));
  CHECK_OK (qcow2blk_device_clear_bitmap (device, "monday", -1, 0));
  CHECK_EQ (5, qcow2blk_device_list_bitmaps (device, keep_bitmap, &bitmap, -1, 0));
  CHECK_EQ (0, bitmap.flags);
  CHECK_EQ (0, bitmap.dirty_bytes);
  CHECK_OK (qcow2blk_device_enable_bitmap (found, "monday", -1, 0));
  CHECK_OK (qcow2blk_device_remove_bitmap (found, "monday", -1, 0));
  CHECK_ERR (ENOENT, qcow2blk_device_remove_bitmap (found, "monday", -1, 0));

  CHECK_ERR (EINVAL, qcow2blk_device_create_snapshot (device, NULL, NULL, 0, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_create_snapshot (device, "x", NULL, 0, -2, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_create_snapshot (device, "x", NULL, 0, -1, 1));
  CHECK_ERR (EINVAL, qcow2blk_device_list_snapshots (device, NULL, NULL, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_list_bitmaps (device, NULL, NULL, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_merge_bitmap (device, "week", NULL, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_add_bitmap (NULL, "x", 0, -1, 0));

  CHECK_OK (qcow2blk_device_suspend (device, -1, 0));
  CHECK_ERR (EBUSY, qcow2blk_device_create_snapshot (device, "x", NULL, 0, -1, 0));
  CHECK_OK (qcow2blk_device_resume (device, -1, 0));
  CHECK_OK (qcow2blk_device_detach (device, -1, 0));
  CHECK_ERR (ESRCH, qcow2blk_device_create_snapshot (found, "x", NULL, 0, -1, 0));
  CHECK_OK (qcow2blk_device_close (found, 0));
  CHECK_OK (qcow2blk_device_close (device, 0));
  run ("qemu-img check -q %s", path);
  check_with_qemu (path, 0xcd, MiB, 128 * KiB);
  return 0;
}
