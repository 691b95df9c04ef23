/* Opening, using and closing, attaching and detaching, leave memory, threads and descriptors where they were.
 * QCOW2BLK_ABI_ROUNDS or the first argument says how many rounds: 100. */
#include "device.h"

static const char *path, *overlay;

static void
use_image (const char *name, uint32_t flags)
{
  static char buffer[256 * KiB];
  qcow2blk_queue *queue = make_queue (16);
  qcow2blk_image *image = open_image (name, flags);
  struct qcow2blk_notify notify = to_queue (queue, NULL);
  CHECK_EQ (sizeof buffer, qcow2blk_image_pread (image, buffer, sizeof buffer, 0, 0));
  if (!(flags & QCOW2BLK_OPEN_READ_ONLY)) {
    CHECK_EQ (100, qcow2blk_image_pwrite (image, buffer, 100, 12 * MiB, 0));
    CHECK_OK (qcow2blk_image_flush (image, 0));
  }
  for (int i = 0; i < 16; i++)
    CHECK_OK (qcow2blk_image_aio_pread (image, buffer, 4096, (uint64_t) i * 70000, &notify, 0));
  CHECK (qcow2blk_image_info (image, buffer, sizeof buffer, 0) > 0);
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
}

static void
use_device (void)
{
  qcow2blk_device *device = attach_named (path, "disk"), *again;
  CHECK_OK (qcow2blk_device_suspend (device, -1, 0));
  CHECK_OK (qcow2blk_device_resume (device, -1, 0));
  CHECK_OK (qcow2blk_device_open ("disk", &again, 0));
  CHECK_OK (qcow2blk_device_close (again, 0));
  CHECK_OK (qcow2blk_device_detach (device, -1, 0));
  CHECK_OK (qcow2blk_device_close (device, 0));
}

static void
round_of_all (void)
{
  qcow2blk_image *image;
  use_image (path, 0);
  use_image (overlay, 0);
  use_image (path, QCOW2BLK_OPEN_CALLER_LOOP);
  use_image (shared_image ("compressed.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  use_image (shared_image ("zstd.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  use_device ();
  CHECK_ERR (ENOENT, qcow2blk_image_open (in_folder ("missing.qcow2"), NULL, &image, 0));
  CHECK_ERR (EUCLEAN, qcow2blk_image_open (shared_image ("damaged.qcow2"), NULL, &image, QCOW2BLK_OPEN_READ_ONLY));
}

/* What ends a moment later than the call returns is given that moment. */
static void
settle (int threads, int descriptors)
{
  for (int i = 0; i < 300 && (count_threads () > threads || count_descriptors () > descriptors); i++)
    sleep_ms (10);
}

int
main (int argc, char **argv)
{
  const char *given = argc > 1 ? argv[1] : getenv ("QCOW2BLK_ABI_ROUNDS");
  int rounds = given != NULL ? atoi (given) : 100, warm_up = rounds / 5 > 40 ? rounds / 5 : 40;
  CHECK (rounds > 0);
  use_own_runtime_folder ();
  path = copy_of ("plain.qcow2");
  overlay = copy_of_overlay ();

  round_of_all ();
  sleep_ms (300);
  int descriptors = count_descriptors ();
  for (int i = 0; i < warm_up; i++)
    round_of_all ();
  /* Commands of devices run on a few threads of the runtime, which come and go with the load. */
  int threads = count_threads () + 4;
  long resident = resident_kib ();
  printf ("before: up to %d threads, %d descriptors, %ld KiB\n", threads, descriptors, resident);
  for (int i = 0; i < rounds; i++) {
    round_of_all ();
    if ((i + 1) % 50 == 0) {
      printf ("after %d rounds: %ld KiB\n", i + 1, resident_kib ());
      fflush (stdout);
    }
  }
  settle (threads, descriptors);
  printf ("after: %d threads, %d descriptors, %ld KiB\n", count_threads (), count_descriptors (), resident_kib ());
  CHECK (count_threads () <= threads);
  CHECK_EQ (descriptors, count_descriptors ());

  /* More than two KiB in a round of seven opens is a leak; the rest is what a garbage collector takes and gives back. */
  long allowed = 1024 + 2 * rounds;
  if (resident_kib () - resident > allowed)
    FAIL ("%ld KiB more after %d rounds; up to %ld are allowed", resident_kib () - resident, rounds, allowed);
  return 0;
}
