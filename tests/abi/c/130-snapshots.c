/* Internal snapshots are listed in their order, and can be opened for reading. */
#include "test.h"

static int found;

static int
tell (void *user_data, const struct qcow2blk_snapshot *snapshot)
{
  CHECK (user_data == &found);
  CHECK (snapshot->size >= sizeof *snapshot);
  CHECK_STR (found == 0 ? "before" : "after", snapshot->name);
  CHECK_STR (found == 0 ? "1" : "2", snapshot->id);
  CHECK (snapshot->date_seconds > 1700000000);
  CHECK (snapshot->date_nanoseconds < 1000000000);
  CHECK_EQ (0, snapshot->vm_state_size);
  CHECK_EQ (MiB, snapshot->disk_size);
  found++;
  return 0;
}

static int
stop (void *user_data, const struct qcow2blk_snapshot *snapshot)
{
  (void) snapshot;
  return ++*(int *) user_data == 1 ? 17 : 0;
}

static void
check_opened (const char *name_or_id, int byte)
{
  qcow2blk_options *options;
  qcow2blk_image *image;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "snapshot", name_or_id, 0));
  CHECK_OK (qcow2blk_image_open (copy_of ("snapshots.qcow2"), options, &image, 0));
  CHECK_EQ (1, qcow2blk_image_is_read_only (image));
  check_disk (image, byte, 0, 64 * KiB);
  check_disk (image, 0, 64 * KiB, MiB - 64 * KiB);
  CHECK_ERR (EROFS, qcow2blk_image_pwrite (image, "x", 1, 0, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
}

int
main (void)
{
  qcow2blk_image *image = open_image (shared_image ("snapshots.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_EQ (0, qcow2blk_image_list_snapshots (image, tell, &found, 0));
  CHECK_EQ (2, found);
  int calls = 0;
  CHECK_EQ (17, qcow2blk_image_list_snapshots (image, stop, &calls, 0));
  CHECK_EQ (1, calls);
  CHECK_ERR (EINVAL, qcow2blk_image_list_snapshots (image, NULL, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_list_snapshots (image, stop, &calls, 1));
  check_disk (image, 0x33, 0, 64 * KiB);
  CHECK_OK (qcow2blk_image_close (image, 0));

  image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_EQ (0, qcow2blk_image_list_snapshots (image, stop, &calls, 0));
  CHECK_EQ (1, calls);
  CHECK_OK (qcow2blk_image_close (image, 0));

  check_opened ("before", 0x31);
  check_opened ("2", 0x32);
  return 0;
}
