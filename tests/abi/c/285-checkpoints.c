/* Checkpoints of an image: a snapshot and a bitmap of the same name each, as this library and as qemu see them. */
#include "aio.h"

struct found {
  struct qcow2blk_checkpoint of[4];
  char names[4][32], ids[4][32];
  int count;
};

static int
keep (void *user_data, const struct qcow2blk_checkpoint *checkpoint)
{
  struct found *found = user_data;
  CHECK (checkpoint->size >= sizeof *checkpoint && found->count < 4);
  CHECK (checkpoint->date_seconds > 1700000000 && checkpoint->date_nanoseconds < 1000000000 && checkpoint->reserved == 0);
  snprintf (found->names[found->count], 32, "%s", checkpoint->name);
  snprintf (found->ids[found->count], 32, "%s", checkpoint->snapshot_id);
  found->of[found->count++] = *checkpoint;
  return 0;
}

static int
stop (void *user_data, const struct qcow2blk_checkpoint *checkpoint)
{
  (void) checkpoint;
  (*(int *) user_data)++;
  return 23;
}

static struct found
checkpoints_of (qcow2blk_image *image)
{
  struct found found = { .count = 0 };
  CHECK_EQ (0, qcow2blk_image_list_checkpoints (image, keep, &found, 0));
  return found;
}

static void
write_some (qcow2blk_image *image, int byte, uint64_t offset, size_t count)
{
  char *buffer = malloc (count);
  memset (buffer, byte, count);
  CHECK_EQ (count, qcow2blk_image_pwrite (image, buffer, count, offset, 0));
  free (buffer);
}

static void
check_checkpoints (uint32_t flags)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, flags);
  CHECK_EQ (0, checkpoints_of (image).count);
  CHECK_OK (qcow2blk_image_create_checkpoint (image, "monday", 128 * KiB, 0));
  write_some (image, 0x51, 100, 10);
  write_some (image, 0x52, 40 * MiB, 256 * KiB);
  CHECK_OK (qcow2blk_image_create_checkpoint (image, "tuesday", 0, 0));
  write_some (image, 0x53, 40 * MiB, 128 * KiB);
  CHECK_OK (qcow2blk_image_create_checkpoint (image, "wednesday", 64 * KiB, 0));
  write_some (image, 0x54, 0, 64 * KiB);
  CHECK_ERR (EEXIST, qcow2blk_image_create_checkpoint (image, "tuesday", 0, 0));
  struct found found = checkpoints_of (image);
  CHECK_EQ (3, found.count);
  CHECK_STR ("monday", found.names[0]);
  CHECK_STR ("1", found.ids[0]);
  CHECK_EQ (0, found.of[0].flags);
  CHECK_EQ (128 * KiB, found.of[0].granularity);
  CHECK_EQ (3 * 128 * KiB, found.of[0].dirty_bytes);
  CHECK_STR ("tuesday", found.names[1]);
  CHECK_EQ (128 * KiB, found.of[1].granularity); /* that of the one before */
  CHECK_EQ (128 * KiB, found.of[1].dirty_bytes);
  CHECK_STR ("wednesday", found.names[2]);
  CHECK_STR ("3", found.ids[2]);
  CHECK_EQ (QCOW2BLK_BITMAP_RECORDS, found.of[2].flags);
  CHECK_EQ (64 * KiB, found.of[2].granularity);
  CHECK_EQ (64 * KiB, found.of[2].dirty_bytes);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q %s", path);
  CHECK_CONTAINS ("wednesday", output_of ("qemu-img snapshot -l %s", path));
  CHECK_CONTAINS ("name: wednesday", output_of ("qemu-img info %s | sed -n '/bitmaps:/,$p'", path));
  run ("qemu-img convert -f qcow2 -O raw -l snapshot.name=tuesday %s %s", path, in_folder ("tuesday.raw"));
  run ("qemu-io -r -f raw -c 'read -P 0x52 40M 256k' %s | (! grep -iE 'fail|error' >&2)", in_folder ("tuesday.raw"));

  image = open_image (path, flags);
  CHECK_OK (qcow2blk_image_delete_checkpoint (image, "tuesday", 0));
  found = checkpoints_of (image);
  CHECK_EQ (2, found.count);
  CHECK_EQ (3 * 128 * KiB, found.of[0].dirty_bytes);
  CHECK_OK (qcow2blk_image_delete_checkpoint (image, "wednesday", 0));
  CHECK_OK (qcow2blk_image_delete_checkpoint (image, "wednesday", 0));
  found = checkpoints_of (image);
  CHECK_EQ (1, found.count);
  CHECK_EQ (QCOW2BLK_BITMAP_RECORDS, found.of[0].flags); /* again: the last one did */
  write_some (image, 0x55, 20 * MiB, 1);
  CHECK_EQ (4 * 128 * KiB, checkpoints_of (image).of[0].dirty_bytes);
  CHECK_OK (qcow2blk_image_delete_checkpoint (image, "monday", 0));
  CHECK_EQ (0, checkpoints_of (image).count);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q %s", path);
  CHECK_STR ("", output_of ("qemu-img snapshot -l %s", path));
  CHECK_STR ("", output_of ("qemu-img info %s | grep bitmaps: || true", path));
}

static int inside[3];

static void
edit_inside (void *user_data, int64_t result)
{
  qcow2blk_image *image = ((void **) user_data)[0];
  CHECK_EQ (4096, result);
  inside[0] = qcow2blk_image_create_checkpoint (image, "inside", 0, 0);
  inside[1] = qcow2blk_image_delete_checkpoint (image, "a", 0);
  inside[2] = qcow2blk_image_list_checkpoints (image, keep, NULL, 0);
  count (((void **) user_data)[1]);
}

static void
check_refused (void)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  int calls = 0;
  CHECK_OK (qcow2blk_image_create_snapshot (image, "taken", NULL, 0, 0));
  CHECK_OK (qcow2blk_image_add_bitmap (image, "bits", 0, 0));
  CHECK_OK (qcow2blk_image_create_checkpoint (image, "a", 0, 0));
  CHECK_ERR (EEXIST, qcow2blk_image_create_checkpoint (image, "taken", 0, 0));
  CHECK_ERR (EEXIST, qcow2blk_image_create_checkpoint (image, "bits", 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_create_checkpoint (image, NULL, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_create_checkpoint (image, "", 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_create_checkpoint (image, "12", 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_create_checkpoint (image, "b", 1000, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_create_checkpoint (image, "b", UINT64_MAX, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_create_checkpoint (image, "b", 0, 1));
  CHECK_ERR (EINVAL, qcow2blk_image_delete_checkpoint (image, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_delete_checkpoint (image, "a", 1));
  CHECK_ERR (EINVAL, qcow2blk_image_list_checkpoints (image, NULL, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_list_checkpoints (image, keep, NULL, 1));
  CHECK_EQ (23, qcow2blk_image_list_checkpoints (image, stop, &calls, 0));
  CHECK_EQ (1, calls);

  /* A callback cannot wait. */
  struct counter ended = COUNTER;
  void *both[] = { image, &ended };
  char buffer[4096] = "";
  struct qcow2blk_notify notify = to_callback (edit_inside, both);
  CHECK_OK (qcow2blk_image_aio_pwrite (image, buffer, sizeof buffer, 0, &notify, 0));
  wait_until (&ended, 1);
  for (int i = 0; i < 3; i++)
    CHECK_EQ (-EDEADLK, inside[i]);
  CHECK_EQ (1, checkpoints_of (image).count);
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_create_checkpoint (image, "c", 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_delete_checkpoint (image, "a", 0));
  CHECK_ERR (EINVAL, qcow2blk_image_list_checkpoints (image, keep, NULL, 0));

  image = open_image (path, QCOW2BLK_OPEN_READ_ONLY);
  CHECK_EQ (1, checkpoints_of (image).count);
  CHECK_ERR (EROFS, qcow2blk_image_create_checkpoint (image, "c", 0, 0));
  CHECK_ERR (EROFS, qcow2blk_image_delete_checkpoint (image, "a", 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  image = open_image (copy_of ("v2.qcow2"), 0);
  CHECK_ERR (EIO, qcow2blk_image_create_checkpoint (image, "c", 0, 0));
  CHECK_CONTAINS ("version 2", qcow2blk_last_error ());
  CHECK_OK (qcow2blk_image_close (image, 0));
}

int
main (void)
{
  check_checkpoints (0);
  check_checkpoints (QCOW2BLK_OPEN_CALLER_LOOP);
  check_refused ();
  return 0;
}
