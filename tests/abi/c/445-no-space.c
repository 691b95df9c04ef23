/* A device with on-enospc=stop tells that requests wait for space, and that they go on. */
#include "device.h"
#include "mount.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int most_waiting, waiting;

static void
on_event (void *user_data, const struct qcow2blk_device_event *event)
{
  (void) user_data;
  if (event->kind != QCOW2BLK_EVENT_NO_SPACE)
    return;
  pthread_mutex_lock (&lock);
  waiting = event->value;
  most_waiting = waiting > most_waiting ? waiting : most_waiting;
  pthread_mutex_unlock (&lock);
}

/* Within ten seconds. */
static void
wait_for (int some)
{
  int is_so = 0;
  for (int i = 0; i < 1000 && !is_so; i++) {
    pthread_mutex_lock (&lock);
    is_so = some ? waiting > 0 : most_waiting > 0 && waiting == 0;
    pthread_mutex_unlock (&lock);
    if (!is_so)
      sleep_ms (10);
  }
  CHECK (is_so);
}

int
main (void)
{
  use_own_runtime_folder ();
  const char *path = in_folder ("small/disk.qcow2");
  if (getuid () != 0)
    skip ("mounting a small file system needs root");
  mount_small ();
  copy_file (shared_image ("empty.qcow2"), path);

  qcow2blk_options *options;
  qcow2blk_device *device;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "socket", in_folder ("disk.sock"), 0));
  CHECK_OK (qcow2blk_options_set (options, "on-enospc", "stop", 0));
  CHECK_OK (qcow2blk_device_attach (path, options, &device, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  CHECK_OK (qcow2blk_device_set_event_callback (device, on_event, NULL, 0));

  FILE *client = popen (format ("qemu-io -f raw -c 'write -P 0x66 0 20M' %s 2>&1", uri_of ("disk")), "r");
  wait_for (1);
  struct pollfd poller = { fileno (client), POLLIN, 0 };
  CHECK_EQ (0, poll (&poller, 1, 300)); /* it was not told of an error */
  grow_small ();
  wait_for (0);
  char said[512];
  said[fread (said, 1, sizeof said - 1, client)] = 0;
  CHECK_EQ (0, pclose (client));
  CHECK_CONTAINS ("wrote 20971520/20971520", said);
  CHECK_OK (qcow2blk_device_close (device, 0));
  check_with_qemu (path, 0x66, 0, 20 * MiB);
  return 0;
}
