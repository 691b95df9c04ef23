/* The status of a device is what the command says of it. */
#include "device.h"

static void
check_status (qcow2blk_device *device, const char *state)
{
  char buffer[16 * KiB];
  ssize_t length = qcow2blk_device_status (device, NULL, 0, 0);
  CHECK (length > 0 && length < (ssize_t) sizeof buffer - 100);
  length = qcow2blk_device_status (device, buffer, sizeof buffer, 0);
  CHECK_EQ (length, strlen (buffer));
  /* The same members as the command prints: counters may differ, names not. */
  FILE *file = fopen (in_folder ("status.json"), "w");
  CHECK_EQ (length, fwrite (buffer, 1, (size_t) length, file));
  fclose (file);
  run ("qcow2blk status --json disk >%s/command.json", test_folder ());
  run ("cd %s && /usr/bin/python3 -c '\n"
       "import json\n"
       "ours, theirs = (json.load(open(name)) for name in (\"status.json\", \"command.json\"))\n"
       "assert ours.keys() == theirs.keys(), (ours.keys(), theirs.keys())\n"
       "assert ours[\"name\"] == \"disk\" and ours[\"state\"] == \"%s\", ours\n"
       "assert all(ours[key] == theirs[key] for key in (\"name\", \"state\", \"image\", \"pid\")), (ours, theirs)\n"
       "'", test_folder (), state);

  memset (buffer, 'x', 8);
  CHECK (qcow2blk_device_status (device, buffer, 2, 0) > 2);
  CHECK_EQ (0, buffer[1]);
  CHECK_EQ ('x', buffer[2]);
  CHECK_ERR (EINVAL, qcow2blk_device_status (device, NULL, 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_device_status (device, buffer, 2, 1));
}

int
main (void)
{
  use_own_runtime_folder ();
  qcow2blk_device *device = attach_named (copy_of ("plain.qcow2"), "disk");
  check_status (device, "running");
  CHECK_OK (qcow2blk_device_suspend (device, -1, 0));
  check_status (device, "suspended");
  CHECK_OK (qcow2blk_device_resume (device, -1, 0));
  CHECK_OK (qcow2blk_device_detach (device, -1, 0));
  CHECK_ERR (ESRCH, qcow2blk_device_status (device, NULL, 0, 0));
  CHECK_OK (qcow2blk_device_close (device, 0));
  return 0;
}
