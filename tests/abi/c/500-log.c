/* The log says what no result tells, one line at a time, up to the level that was asked for. */
#include "device.h"

static struct counter lines = COUNTER;
static int highest;

static void
on_line (void *user_data, int level, const char *message)
{
  CHECK (user_data == &lines);
  CHECK (level >= QCOW2BLK_LOG_ERROR && level <= QCOW2BLK_LOG_DEBUG);
  CHECK (message[0] != 0 && strchr (message, '\n') == NULL);
  CHECK_EQ (-EDEADLK, qcow2blk_set_log (NULL, NULL, QCOW2BLK_LOG_DEBUG, 0));
  if (level > highest)
    highest = level;
  count (&lines);
}

static void
attach_and_detach (const char *path)
{
  qcow2blk_device *device = attach_named (path, "disk");
  check_served ("disk", 1, 0, 64 * KiB);
  CHECK_OK (qcow2blk_device_suspend (device, -1, 0));
  CHECK_OK (qcow2blk_device_resume (device, -1, 0));
  CHECK_OK (qcow2blk_device_detach (device, -1, 0));
  CHECK_OK (qcow2blk_device_close (device, 0));
}

int
main (void)
{
  use_own_runtime_folder ();
  const char *path = copy_of ("plain.qcow2");
  CHECK_ERR (EINVAL, qcow2blk_set_log (on_line, &lines, -1, 0));
  CHECK_ERR (EINVAL, qcow2blk_set_log (on_line, &lines, QCOW2BLK_LOG_DEBUG + 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_set_log (on_line, &lines, QCOW2BLK_LOG_DEBUG, 1));

  /* Nothing goes wrong, so that at this level nothing is said. */
  CHECK_OK (qcow2blk_set_log (on_line, &lines, QCOW2BLK_LOG_ERROR, 0));
  attach_and_detach (path);
  CHECK_EQ (0, lines.value);

  CHECK_OK (qcow2blk_set_log (on_line, &lines, QCOW2BLK_LOG_DEBUG, 0));
  attach_and_detach (path);
  CHECK (lines.value > 0);
  CHECK (highest > QCOW2BLK_LOG_WARNING);

  CHECK_OK (qcow2blk_set_log (NULL, NULL, QCOW2BLK_LOG_DEBUG, 0));
  int before = lines.value;
  attach_and_detach (path);
  CHECK_EQ (before, lines.value);
  return 0;
}
