/* A second library with a .NET runtime of its own works in the same process: two runtimes stop and start their threads. */
#include "aio.h"

#include <dlfcn.h>

static int (*second_work) (int);
static qcow2blk_image *image;

static void *
use_second (void *unused)
{
  (void) unused;
  for (int i = 0; i < 20; i++)
    CHECK_EQ (10, second_work (10));
  return NULL;
}

static void *
use_ours (void *unused)
{
  static char buffer[64 * KiB];
  (void) unused;
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < 64; i++)
      check_disk (image, i + 1, (uint64_t) i * 64 * KiB, 64 * KiB);
    CHECK_EQ (sizeof buffer, qcow2blk_image_pwrite (image, buffer, sizeof buffer, (uint64_t) (5 + round) * MiB, 0));
    CHECK_OK (qcow2blk_image_flush (image, 0));
  }
  return NULL;
}

/* One thread that goes from one to the other and back. */
static void *
use_both (void *unused)
{
  (void) unused;
  for (int i = 0; i < 20; i++) {
    CHECK_EQ (1, second_work (1));
    check_disk (image, 7, 6 * 64 * KiB, 64 * KiB);
    CHECK_ERR (EINVAL, qcow2blk_image_size (NULL));
  }
  return NULL;
}

int
main (void)
{
  const char *path = getenv ("QCOW2BLK_TEST_SECOND");
  if (path == NULL) FAIL ("QCOW2BLK_TEST_SECOND is not set (tests/abi/run.sh builds tests/abi/second)");
  void *second = dlopen (path, RTLD_NOW);
  if (second == NULL) FAIL ("%s", dlerror ());
  *(void **) &second_work = dlsym (second, "second_work");
  CHECK (second_work != NULL);
  image = open_copy ("plain.qcow2");

  pthread_t threads[6];
  void *(*works[]) (void *) = { use_second, use_ours, use_both };
  for (int i = 0; i < 6; i++)
    CHECK_EQ (0, pthread_create (&threads[i], NULL, works[i % 3], NULL));
  for (int i = 0; i < 6; i++)
    CHECK_EQ (0, pthread_join (threads[i], NULL));
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
