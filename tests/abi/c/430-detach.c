/* Detaching writes everything out and ends the device; the command can do it, too. */
#include "device.h"

int
main (void)
{
  use_own_runtime_folder ();
  const char *path = copy_of ("empty.qcow2");
  qcow2blk_device *device = attach_named (path, "disk");
  run ("qemu-io -f raw -c 'write -P 0x44 1M 1M' %s >/dev/null", uri_of ("disk"));
  CHECK_ERR (EINVAL, qcow2blk_device_detach (device, -2, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_detach (device, -1, 2));
  CHECK_EQ (QCOW2BLK_STATE_RUNNING, qcow2blk_device_state (device, 0));
  CHECK_EQ (0, qcow2blk_device_detach (device, -1, 0));
  check_with_qemu (path, 0x44, MiB, MiB);
  CHECK_OK (qcow2blk_image_close (open_image (path, 0), 0)); /* it is unlocked */

  CHECK_EQ (QCOW2BLK_STATE_ENDED, qcow2blk_device_state (device, 0));
  CHECK_EQ (4, qcow2blk_device_name (device, NULL, 0));
  CHECK_ERR (ESRCH, qcow2blk_device_detach (device, -1, 0));
  CHECK_ERR (ESRCH, qcow2blk_device_suspend (device, -1, 0));
  CHECK_ERR (ESRCH, qcow2blk_device_resume (device, -1, 0));
  CHECK_EQ (0, qcow2blk_device_close (device, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_close (device, 0));

  /* By the command, as if the device had a process of its own. */
  device = attach_named (path, "disk");
  run ("qcow2blk suspend disk");
  CHECK_EQ (QCOW2BLK_STATE_SUSPENDED, qcow2blk_device_state (device, 0));
  run ("qcow2blk resume disk");
  CHECK_EQ (QCOW2BLK_STATE_RUNNING, qcow2blk_device_state (device, 0));
  run ("qcow2blk detach disk");
  for (int i = 0; i < 500 && qcow2blk_device_state (device, 0) != QCOW2BLK_STATE_ENDED; i++)
    sleep_ms (10);
  CHECK_EQ (QCOW2BLK_STATE_ENDED, qcow2blk_device_state (device, 0));
  CHECK_EQ (0, qcow2blk_device_close (device, 0));

  /* With a client that is connected: by force. */
  device = attach_named (path, "disk");
  FILE *client = popen (format ("qemu-io -f raw %s 2>&1", uri_of ("disk")), "w");
  CHECK (client != NULL);
  sleep_ms (300);
  CHECK_EQ (0, qcow2blk_device_detach (device, -1, QCOW2BLK_FORCE));
  pclose (client);
  CHECK_EQ (0, qcow2blk_device_close (device, 0));
  run ("qemu-img check -q -f qcow2 %s", path);
  return 0;
}
