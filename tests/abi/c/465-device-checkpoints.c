/* Checkpoints of several devices, of one instant: of all or of none. */
#include "device.h"

static int
add_name (void *user_data, const struct qcow2blk_checkpoint *checkpoint)
{
  char *names = user_data;
  snprintf (names + strlen (names), 64, "%s:%lld%s ", checkpoint->name, (long long) checkpoint->dirty_bytes / KiB,
            checkpoint->flags == QCOW2BLK_BITMAP_RECORDS ? "*" : "");
  return 0;
}

static int
stop (void *user_data, const struct qcow2blk_checkpoint *checkpoint)
{
  (void) user_data, (void) checkpoint;
  return 23;
}

static const char *
checkpoints_of (qcow2blk_device *device)
{
  char names[512] = "";
  CHECK_EQ (0, qcow2blk_device_list_checkpoints (device, add_name, names, -1, 0));
  return format ("%s", names);
}

static void
write_served (const char *name, int byte, long long offset, long long length)
{
  run ("qemu-io -f raw -c 'write -P %d %lld %lld' %s | (! grep -iE 'fail|error' >&2)", byte, offset, length, uri_of (name));
}

static int inside[3];

static void
edit_inside (void *user_data, int64_t result)
{
  qcow2blk_device *device = ((void **) user_data)[0];
  CHECK_EQ (512, result);
  inside[0] = qcow2blk_devices_create_checkpoint (&device, 1, "inside", 0, -1, 0);
  inside[1] = qcow2blk_device_delete_checkpoint (device, "monday", -1, 0);
  inside[2] = qcow2blk_device_list_checkpoints (device, stop, NULL, -1, 0);
  count (((void **) user_data)[1]);
}

int
main (void)
{
  use_own_runtime_folder ();
  const char *paths[] = { copy_of ("plain.qcow2"), in_folder ("second.qcow2") };
  copy_file (paths[0], paths[1]);
  qcow2blk_device *first = attach_named (paths[0], "first"), *second = attach_named (paths[1], "second"), *again;
  CHECK_OK (qcow2blk_device_open ("first", &again, 0));
  qcow2blk_device *all[] = { first, second, again };
  CHECK_STR ("", checkpoints_of (first));
  CHECK_OK (qcow2blk_devices_create_checkpoint (all, 3, "monday", 128 * KiB, -1, 0));
  write_served ("first", 0xcc, MiB, 256 * KiB);
  CHECK_OK (qcow2blk_devices_create_checkpoint (all, 2, "tuesday", 0, 5000, 0));
  write_served ("second", 0xcd, MiB, 128 * KiB);
  CHECK_STR ("monday:256 tuesday:0* ", checkpoints_of (again));
  CHECK_STR ("monday:0 tuesday:128* ", checkpoints_of (second));
  check_served ("first", 0xcc, MiB, 256 * KiB);

  /* One of them cannot: so the other, which comes first, does not have it either, and records on as before. */
  CHECK_OK (qcow2blk_devices_create_checkpoint (&second, 1, "wednesday", 0, -1, 0));
  CHECK_ERR (EEXIST, qcow2blk_devices_create_checkpoint (all, 2, "wednesday", 0, -1, 0));
  CHECK_CONTAINS ("second", qcow2blk_last_error ());
  write_served ("first", 0xce, 3 * MiB, 1);
  CHECK_STR ("monday:256 tuesday:128* ", checkpoints_of (first));
  CHECK_STR ("monday:0 tuesday:128 wednesday:0* ", checkpoints_of (second));

  CHECK_OK (qcow2blk_device_delete_checkpoint (first, "monday", -1, 0));
  CHECK_OK (qcow2blk_device_delete_checkpoint (first, "monday", -1, 0));
  CHECK_OK (qcow2blk_device_delete_checkpoint (second, "wednesday", -1, 0));
  CHECK_OK (qcow2blk_device_delete_checkpoint (second, "tuesday", -1, 0));
  CHECK_STR ("tuesday:128* ", checkpoints_of (first));
  CHECK_STR ("monday:128* ", checkpoints_of (second));
  CHECK_EQ (23, qcow2blk_device_list_checkpoints (first, stop, NULL, -1, 0));

  CHECK_ERR (EINVAL, qcow2blk_devices_create_checkpoint (NULL, 1, "x", 0, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_devices_create_checkpoint (all, 0, "x", 0, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_devices_create_checkpoint (all, 2, NULL, 0, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_devices_create_checkpoint (all, 2, "12", 0, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_devices_create_checkpoint (all, 2, "x", 1000, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_devices_create_checkpoint (all, 2, "x", 0, -2, 0));
  CHECK_ERR (EINVAL, qcow2blk_devices_create_checkpoint (all, 2, "x", 0, -1, 1));
  qcow2blk_device *wrong[] = { first, NULL };
  CHECK_ERR (EINVAL, qcow2blk_devices_create_checkpoint (wrong, 2, "x", 0, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_delete_checkpoint (first, NULL, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_delete_checkpoint (first, "x", -2, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_delete_checkpoint (first, "x", -1, 1));
  CHECK_ERR (EINVAL, qcow2blk_device_list_checkpoints (first, NULL, NULL, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_list_checkpoints (first, stop, NULL, -1, 1));

  /* A callback cannot wait. */
  struct counter ended = COUNTER;
  void *both[] = { first, &ended };
  char buffer[512];
  qcow2blk_image *image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  struct qcow2blk_notify notify = to_callback (edit_inside, both);
  CHECK_OK (qcow2blk_image_aio_pread (image, buffer, sizeof buffer, 0, &notify, 0));
  wait_until (&ended, 1);
  for (int i = 0; i < 3; i++)
    CHECK_EQ (-EDEADLK, inside[i]);
  CHECK_OK (qcow2blk_image_close (image, 0));

  /* Suspended, and ended: the other gets none. */
  CHECK_OK (qcow2blk_device_suspend (second, -1, 0));
  CHECK_ERR (EBUSY, qcow2blk_devices_create_checkpoint (all, 2, "x", 0, -1, 0));
  CHECK_OK (qcow2blk_device_resume (second, -1, 0));
  CHECK_OK (qcow2blk_device_detach (second, -1, 0));
  CHECK_ERR (ESRCH, qcow2blk_devices_create_checkpoint (all, 2, "x", 0, -1, 0));
  CHECK_ERR (ESRCH, qcow2blk_device_delete_checkpoint (second, "monday", -1, 0));
  CHECK_ERR (ESRCH, qcow2blk_device_list_checkpoints (second, stop, NULL, -1, 0));
  CHECK_STR ("tuesday:128* ", checkpoints_of (first));
  write_served ("first", 0xcf, 0, 1);
  CHECK_OK (qcow2blk_device_close (again, 0));
  CHECK_OK (qcow2blk_device_close (first, 0));
  CHECK_OK (qcow2blk_device_close (second, 0));
  CHECK_ERR (EINVAL, qcow2blk_devices_create_checkpoint (all, 2, "x", 0, -1, 0));
  for (int i = 0; i < 2; i++) {
    const char *name = i == 0 ? "tuesday" : "monday";
    run ("qemu-img check -q %s", paths[i]);
    CHECK_CONTAINS (name, output_of ("qemu-img snapshot -l %s", paths[i]));
    CHECK_CONTAINS (name, output_of ("qemu-img info %s | sed -n '/bitmaps:/,$p'", paths[i]));
  }
  return 0;
}
