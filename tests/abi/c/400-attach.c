/* An attached image is served over NBD by this process, and listed like the devices of the command. */
#include "device.h"

static void
check_names (qcow2blk_device *device)
{
  char buffer[256];
  const char *uri = format ("nbd+unix:///?socket=%s/disk.sock", test_folder ());
  CHECK_EQ (4, qcow2blk_device_name (device, buffer, sizeof buffer));
  CHECK_STR ("disk", buffer);
  CHECK_EQ (4, qcow2blk_device_name (device, buffer, 3));
  CHECK_STR ("di", buffer);
  CHECK_EQ (4, qcow2blk_device_name (device, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_name (device, NULL, 1));
  CHECK_EQ (strlen (uri), qcow2blk_device_uri (device, buffer, sizeof buffer));
  CHECK_STR (uri, buffer);
  CHECK_ERR (EINVAL, qcow2blk_device_uri (device, NULL, 1));
  CHECK_EQ (0, qcow2blk_device_path (device, buffer, sizeof buffer));
  CHECK_STR ("", buffer);
  CHECK_ERR (EINVAL, qcow2blk_device_path (device, NULL, 1));
  CHECK_EQ (QCOW2BLK_STATE_RUNNING, qcow2blk_device_state (device, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_state (device, 1));
}

static void
check_refused (const char *path)
{
  qcow2blk_device *device = (qcow2blk_device *) &device;
  qcow2blk_options *options;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "socket", format ("%s/other.sock", test_folder ()), 0));
  CHECK_ERR (EBUSY, qcow2blk_device_attach (path, options, &device, 0)); /* in use by the first device */
  CHECK (device == NULL);
  CHECK_ERR (ENOENT, qcow2blk_device_attach (in_folder ("missing.qcow2"), options, &device, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_attach (path, options, &device, 1U << 30));
  CHECK_ERR (EINVAL, qcow2blk_device_attach (path, options, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_attach (NULL, options, &device, 0));
  CHECK_OK (qcow2blk_options_set (options, "socket", format ("%s/disk.sock", test_folder ()), 0));
  CHECK_ERR (EADDRINUSE, qcow2blk_device_attach (copy_of ("v2.qcow2"), options, &device, 0));
  CHECK (device == NULL);
  CHECK_OK (qcow2blk_options_close (options, 0));
}

int
main (void)
{
  use_own_runtime_folder ();
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_device *device = attach_named (path, "disk");
  check_names (device);
  check_served ("disk", 3, 128 * KiB, 64 * KiB);
  run ("qemu-io -f raw -c 'write -P 0x91 20M 1M' %s >/dev/null", uri_of ("disk"));
  check_served ("disk", 0x91, 20 * MiB, MiB);
  CHECK_CONTAINS ("virtual size: 64 MiB", output_of ("qemu-img info -f raw %s", uri_of ("disk")));
  CHECK_STR ("67108864\n", output_of ("nbdinfo --size %s", uri_of ("disk")));
  CHECK_CONTAINS ("disk", output_of ("qcow2blk list"));
  CHECK_CONTAINS (path, output_of ("qcow2blk list --json"));
  CHECK_CONTAINS (format ("\"pid\": %d", getpid ()), output_of ("qcow2blk status --json disk"));
  check_refused (path);
  check_served ("disk", 4, 192 * KiB, 64 * KiB);

  /* Many devices in one process. */
  qcow2blk_device *others[4];
  for (int i = 0; i < 4; i++) {
    copy_file (shared_image ("snapshots.qcow2"), in_folder (format ("other%d.qcow2", i)));
    others[i] = attach_named (in_folder (format ("other%d.qcow2", i)), format ("other%d", i));
  }
  for (int i = 0; i < 4; i++)
    check_served (format ("other%d", i), 0x33, 0, 64 * KiB);
  for (int i = 0; i < 4; i++)
    CHECK_OK (qcow2blk_device_close (others[i], 0));

  CHECK_OK (qcow2blk_device_close (device, 0));
  CHECK (strstr (output_of ("qcow2blk list"), "disk") == NULL);
  CHECK (access (in_folder ("disk.sock"), F_OK) < 0);
  check_with_qemu (path, 0x91, 20 * MiB, MiB);
  return 0;
}
