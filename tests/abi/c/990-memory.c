/* The library is a small guest: under 2 MiB of its own for loading and the first call, under 6 MiB more for an open image, beside what
 * is mapped of files; and no work when idle. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/times.h>

/* This program is not linked with the library, so that it is measured from before it was loaded. */
#define LAST_ERROR() "unknown"
#include "test.h"

#define FIND(function) (*(void **) &function = dlsym (library, "qcow2blk_" #function))

static int (*options_create) (qcow2blk_options **, uint32_t);
static int (*image_open) (const char *, const qcow2blk_options *, qcow2blk_image **, uint32_t);
static ssize_t (*image_pread) (qcow2blk_image *, void *, size_t, uint64_t, uint32_t);
static int (*image_close) (qcow2blk_image *, uint32_t);

static long
ticks (void)
{
  struct tms now;
  times (&now);
  return (long) (now.tms_utime + now.tms_stime);
}

static void
check_grown (const char *what, long before, long limit)
{
  long grown = anonymous_kib () - before;
  printf ("%s: %ld KiB, %ld KiB resident in all\n", what, grown, resident_kib ());
  if (grown >= limit) FAIL ("%s takes %ld KiB; less than %ld are allowed", what, grown, limit);
}

int
main (void)
{
  static char buffer[64 * KiB];
  qcow2blk_options *options;
  qcow2blk_image *image;
  const char *path = copy_of ("plain.qcow2");
  memset (buffer, 1, sizeof buffer);
  count_threads ();

  long before = anonymous_kib ();
  void *library = dlopen ("libqcow2blk.so.0", RTLD_NOW);
  CHECK (library != NULL && FIND (options_create) && FIND (image_open) && FIND (image_pread) && FIND (image_close));
  CHECK_EQ (0, options_create (&options, 0));
  check_grown ("loading and the first call", before, 2048);

  long loaded = anonymous_kib ();
  CHECK_EQ (0, image_open (path, NULL, &image, 0));
  for (int i = 0; i < 64; i++)
    CHECK_EQ (sizeof buffer, image_pread (image, buffer, sizeof buffer, (uint64_t) i * sizeof buffer, 0));
  check_grown ("an image that was read", loaded, 6144);

  sleep_ms (1000); /* what it does after it was opened is done by now */
  long used = ticks ();
  sleep_ms (2000);
  CHECK_EQ (0, ticks () - used);
  CHECK_EQ (0, image_close (image, 0));
  return 0;
}
