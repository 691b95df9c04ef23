/* A device of another process is controlled through a handle, and goes on when that is closed. */
#include "device.h"

static qcow2blk_device *
open_device (const char *target)
{
  qcow2blk_device *device;
  CHECK_OK (qcow2blk_device_open (target, &device, 0));
  return device;
}

static void
check_controlled (const char *target)
{
  char buffer[256];
  qcow2blk_device *device = open_device (target);
  CHECK_EQ (5, qcow2blk_device_name (device, buffer, sizeof buffer));
  CHECK_STR ("their", buffer);
  CHECK_EQ (QCOW2BLK_STATE_RUNNING, qcow2blk_device_state (device, 0));
  CHECK (qcow2blk_device_uri (device, buffer, sizeof buffer) > 0);
  CHECK_CONTAINS ("their.sock", buffer);
  CHECK_EQ (0, qcow2blk_device_suspend (device, -1, 0));
  CHECK_EQ (QCOW2BLK_STATE_SUSPENDED, qcow2blk_device_state (device, 0));
  CHECK_EQ (0, qcow2blk_device_resume (device, -1, 0));
  CHECK (qcow2blk_device_status (device, NULL, 0, 0) > 0);
  CHECK_OK (qcow2blk_device_close (device, 0));
  check_served ("their", 1, 0, 64 * KiB);
}

int
main (void)
{
  qcow2blk_device *device = (qcow2blk_device *) &device;
  use_own_runtime_folder ();
  CHECK_ERR (ENODEV, qcow2blk_device_open ("their", &device, 0));
  CHECK (device == NULL);
  CHECK_ERR (EINVAL, qcow2blk_device_open (NULL, &device, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_open ("their", NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_open ("their", &device, 1));

  const char *path = copy_of ("plain.qcow2");
  run ("qcow2blk attach --name their --socket %s/their.sock %s >/dev/null", test_folder (), path);
  check_controlled ("their");
  check_controlled (path);
  check_controlled (format ("nbd+unix:///?socket=%s/their.sock", test_folder ()));

  /* One of this process, and both at once. */
  qcow2blk_device *ours = attach_named (copy_of ("v2.qcow2"), "ours"), *again = open_device ("ours");
  CHECK_EQ (QCOW2BLK_STATE_RUNNING, qcow2blk_device_state (again, 0));
  CHECK_OK (qcow2blk_device_close (again, 0));
  check_served ("ours", 0, 0, MiB);
  CHECK_OK (qcow2blk_device_close (ours, 0));

  device = open_device ("their");
  CHECK_EQ (0, qcow2blk_device_detach (device, -1, 0));
  CHECK_EQ (QCOW2BLK_STATE_ENDED, qcow2blk_device_state (device, 0));
  CHECK_OK (qcow2blk_device_close (device, 0));
  CHECK_ERR (ENODEV, qcow2blk_device_open ("their", &device, 0));
  run ("qemu-img check -q -f qcow2 %s", path);
  return 0;
}
