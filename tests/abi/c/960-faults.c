/* What goes wrong below the image comes back as its errno, and the host goes on. */
#include "aio.h"
#include "mount.h"

#include <signal.h>
#include <sys/resource.h>

static unsigned char block[MiB];

/* A full file system: ENOSPC, and what was written before stays. */
static void
check_no_space (void)
{
  const char *path = in_folder ("small/disk.qcow2");
  mount_small ();
  copy_file (shared_image ("empty.qcow2"), path);
  qcow2blk_image *image = open_image (path, 0);
  int written = 0, result = 0;
  while (written < 60 && (result = (int) qcow2blk_image_pwrite (image, block, MiB, (uint64_t) written * MiB, 0)) == MiB)
    written++;
  CHECK_EQ (-ENOSPC, result);
  CHECK_EQ (ENOSPC, qcow2blk_last_errno ());
  CHECK (written >= 5);

  qcow2blk_queue *queue = make_queue (1);
  struct qcow2blk_notify notify = to_queue (queue, image);
  CHECK_OK (qcow2blk_image_aio_pwrite (image, block, MiB, 40 * MiB, &notify, 0));
  CHECK_EQ (-ENOSPC, only_result (queue, image));
  for (int i = 0; i < written; i++)
    check_disk (image, 0x5d, (uint64_t) i * MiB, MiB);

  /* With space again it goes on. */
  grow_small ();
  CHECK_EQ (MiB, qcow2blk_image_pwrite (image, block, MiB, 40 * MiB, QCOW2BLK_FUA));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  check_with_qemu (path, 0x5d, 40 * MiB, MiB);
}

/* A file that must not grow: EFBIG, without the signal that would end this process. */
static void
check_too_big (void)
{
  struct rlimit limit, small;
  const char *path = copy_of ("empty.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  CHECK_EQ (0, getrlimit (RLIMIT_FSIZE, &limit));
  small = limit;
  small.rlim_cur = 2 * MiB;
  signal (SIGXFSZ, SIG_IGN);
  CHECK_EQ (0, setrlimit (RLIMIT_FSIZE, &small));
  int result = 0;
  for (int i = 0; i < 8 && result >= 0; i++)
    result = (int) qcow2blk_image_pwrite (image, block, MiB, (uint64_t) i * MiB, 0);
  CHECK_EQ (0, setrlimit (RLIMIT_FSIZE, &limit));
  CHECK_EQ (-EFBIG, result);
  CHECK_EQ (MiB, qcow2blk_image_pwrite (image, block, MiB, 50 * MiB, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  check_with_qemu (path, 0x5d, 50 * MiB, MiB);
}

/* A loop device over a file that has lost its end: errors of a block device. */
static void
check_disk_errors (void)
{
  const char *backing = in_folder ("device.raw");
  qcow2blk_options *options;
  qcow2blk_image *image;
  run ("qemu-img convert -f qcow2 -O qcow2 %s %s && truncate -s 8M %s", shared_image ("plain.qcow2"), backing, backing);
  char node[64];
  snprintf (node, sizeof node, "%s", output_of ("losetup --find --show %s", backing));
  node[strcspn (node, "\n")] = 0;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_image_open (node, options, &image, 0));
  run ("losetup --detach %s", node); /* it takes effect when nobody has it open, whatever happens to this test */
  check_disk (image, 1, 0, 64 * KiB);
  CHECK_EQ (0, truncate (backing, MiB));
  long long result = qcow2blk_image_pread (image, block, 64 * KiB, 59 * 64 * KiB, 0);
  CHECK_EQ (-EIO, result);
  memset (block, 0x5d, sizeof block);
  qcow2blk_image_close (image, 0); /* nothing was written, so that there is nothing to fail */
  CHECK_OK (qcow2blk_options_close (options, 0));
}

/* The name of the file is gone: that does not matter to an open image. */
static void
check_removed (void)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, 0), *second;
  CHECK_EQ (0, unlink (path));
  CHECK_EQ (MiB, qcow2blk_image_pwrite (image, block, MiB, 30 * MiB, QCOW2BLK_FUA));
  check_disk (image, 0x5d, 30 * MiB, MiB);
  check_disk (image, 9, 8 * 64 * KiB, 64 * KiB);
  CHECK_ERR (ENOENT, qcow2blk_image_open (path, NULL, &second, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
}

int
main (void)
{
  memset (block, 0x5d, sizeof block);
  check_removed ();
  check_too_big ();
  if (getuid () != 0)
    skip ("a small file system and a loop device need root");
  check_no_space ();
  check_disk_errors ();
  return 0;
}
