/* A child has no engine: every call says so at once, and the parent goes on. */
#include "device.h"

#define CHECK_GONE(call) \
  do { \
    long long start_ = now_ms (); \
    CHECK_EQ (-ENOTRECOVERABLE, call); \
    CHECK (now_ms () - start_ < 1000); \
  } while (0)

static qcow2blk_image *image, *driven;
static qcow2blk_queue *queue;
static qcow2blk_device *device;

static void
child (void)
{
  static char buffer[512];
  struct qcow2blk_notify notify = to_queue (queue, NULL);
  struct qcow2blk_completion done;
  qcow2blk_image *other;
  qcow2blk_options *options;
  qcow2blk_device *another;
  CHECK_EQ (QCOW2BLK_VERSION, qcow2blk_version ());
  CHECK_GONE (qcow2blk_image_pread (image, buffer, 512, 0, 0));
  CHECK_EQ (ENOTRECOVERABLE, qcow2blk_last_errno ());
  CHECK (strlen (qcow2blk_last_error ()) > 0);
  CHECK_GONE (qcow2blk_image_pread (driven, buffer, 512, 0, 0));
  CHECK_GONE (qcow2blk_image_pwrite (image, buffer, 512, 0, 0));
  CHECK_GONE (qcow2blk_image_aio_pread (image, buffer, 512, 0, &notify, 0));
  CHECK_GONE (qcow2blk_image_flush (image, 0));
  CHECK_GONE (qcow2blk_image_size (image));
  CHECK_GONE (qcow2blk_image_process (driven, 0));
  CHECK_GONE (qcow2blk_queue_wait (queue, &done, 1, -1, 0));
  CHECK_GONE (qcow2blk_queue_close (queue, 0));
  CHECK_GONE (qcow2blk_image_open (shared_image ("plain.qcow2"), NULL, &other, QCOW2BLK_OPEN_READ_ONLY));
  CHECK_GONE (qcow2blk_options_create (&options, 0));
  CHECK_GONE (qcow2blk_device_open ("disk", &another, 0));
  CHECK_GONE (qcow2blk_device_state (device, 0));
  CHECK_GONE (qcow2blk_device_detach (device, -1, 0));
  CHECK_GONE (qcow2blk_set_log (NULL, NULL, 0, 0));
  CHECK_GONE (qcow2blk_has_feature ("zstd", 0));
  CHECK_GONE (qcow2blk_image_close (image, 0));
  _exit (0);
}

/* A child that execs has an engine again. */
static void
exec_child (const char *self)
{
  execl (self, self, "child", (char *) NULL);
  _exit (127);
}

static void
check_child (pid_t pid)
{
  int status = -1;
  CHECK (pid > 0);
  CHECK_EQ (pid, waitpid (pid, &status, 0));
  CHECK_EQ (0, status);
}

int
main (int argc, char **argv)
{
  if (argc > 1) {
    check_disk (open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY), 1, 0, 64 * KiB);
    return 0;
  }

  /* To become a daemon: before the first call. */
  pid_t pid = fork ();
  if (pid == 0) {
    check_disk (open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY), 1, 0, 64 * KiB);
    _exit (0);
  }
  check_child (pid);

  use_own_runtime_folder ();
  image = open_copy ("plain.qcow2");
  driven = open_image (shared_image ("zstd.qcow2"), QCOW2BLK_OPEN_READ_ONLY | QCOW2BLK_OPEN_CALLER_LOOP);
  queue = make_queue (8);
  device = attach_named (copy_of ("v2.qcow2"), "disk");

  for (int i = 0; i < 5; i++) {
    /* With requests in flight, so that locks of the engine may be held at that moment. */
    static char buffer[4][MiB];
    struct qcow2blk_notify notify = to_queue (queue, NULL);
    for (int j = 0; j < 4; j++)
      CHECK_OK (qcow2blk_image_aio_pwrite (image, buffer[j], MiB, (uint64_t) (10 + j) * MiB, &notify, 0));
    pid = fork ();
    if (pid == 0)
      child ();
    check_child (pid);
    for (int j = 0; j < 4; j++)
      CHECK_EQ (MiB, next_completion (queue).result);
    check_disk (image, 1, 0, 64 * KiB);
    check_disk (driven, 3, 128 * KiB, 64 * KiB);
    check_served ("disk", 0, 0, MiB);
  }
  pid = fork ();
  if (pid == 0)
    exec_child (argv[0]);
  check_child (pid);

  CHECK_OK (qcow2blk_device_close (device, 0));
  CHECK_OK (qcow2blk_image_close (driven, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return 0;
}
