/* While a device is suspended, other programs edit the file and requests wait; resuming shows what was edited. */
#include "device.h"

int
main (void)
{
  use_own_runtime_folder ();
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_device *device = attach_named (path, "disk");
  run ("qemu-io -f raw -c 'write -P 0x71 30M 64k' %s >/dev/null", uri_of ("disk"));

  CHECK_EQ (0, qcow2blk_device_suspend (device, -1, 0));
  CHECK_EQ (QCOW2BLK_STATE_SUSPENDED, qcow2blk_device_state (device, 0));
  CHECK_EQ (0, qcow2blk_device_suspend (device, 1000, 0)); /* stays so */
  check_with_qemu (path, 0x71, 30 * MiB, 64 * KiB);
  run ("qemu-img snapshot -c monday %s", path);
  run ("qemu-io -f qcow2 -c 'write -P 0x72 31M 64k' %s >/dev/null", path);

  /* A client that comes now waits, and gets what is there afterwards. */
  FILE *client = popen (format ("qemu-io -r -f raw -c 'read -P 0x72 31M 64k' %s 2>&1", uri_of ("disk")), "r");
  struct pollfd poller = { fileno (client), POLLIN, 0 };
  CHECK_EQ (0, poll (&poller, 1, 700));
  CHECK_EQ (0, qcow2blk_device_resume (device, -1, 0));
  CHECK_EQ (QCOW2BLK_STATE_RUNNING, qcow2blk_device_state (device, 0));
  char said[512];
  said[fread (said, 1, sizeof said - 1, client)] = 0;
  CHECK_EQ (0, pclose (client));
  CHECK_CONTAINS ("read 65536/65536", said);
  check_served ("disk", 0x71, 30 * MiB, 64 * KiB);

  /* A disk that has become smaller is taken only if that was asked for. */
  CHECK_EQ (0, qcow2blk_device_suspend (device, 5000, 0));
  run ("qemu-img resize -q --shrink -f qcow2 %s 48M || { qemu-img snapshot -d monday %s && qemu-img resize -q --shrink -f qcow2 %s 48M; }",
       path, path, path);
  CHECK (qcow2blk_device_resume (device, -1, 0) < 0);
  CHECK_EQ (QCOW2BLK_STATE_SUSPENDED, qcow2blk_device_state (device, 0));
  CHECK_EQ (0, qcow2blk_device_resume (device, -1, QCOW2BLK_ALLOW_SHRINK));
  CHECK_STR ("50331648\n", output_of ("nbdinfo --size %s", uri_of ("disk")));

  /* A file that is not an image any more: it stays suspended, and goes on when that is fixed. */
  CHECK_EQ (0, qcow2blk_device_suspend (device, -1, 0));
  CHECK_EQ (0, rename (path, in_folder ("moved.qcow2")));
  CHECK_ERR (ENOENT, qcow2blk_device_resume (device, -1, 0));
  CHECK_EQ (QCOW2BLK_STATE_SUSPENDED, qcow2blk_device_state (device, 0));
  CHECK_EQ (0, rename (in_folder ("moved.qcow2"), path));
  CHECK_EQ (0, qcow2blk_device_resume (device, -1, 0));
  check_served ("disk", 2, 64 * KiB, 64 * KiB);

  CHECK_ERR (EINVAL, qcow2blk_device_suspend (device, -2, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_suspend (device, -1, 1));
  CHECK_ERR (EINVAL, qcow2blk_device_resume (device, -2, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_resume (device, -1, 2));
  CHECK_OK (qcow2blk_device_close (device, 0));
  return 0;
}
