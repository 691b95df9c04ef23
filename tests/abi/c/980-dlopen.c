/* Loading the library does nothing to the process; it can be closed and loaded again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>

/* This program is not linked with the library. */
#define LAST_ERROR() "unknown"
#include "test.h"

#define LIBRARY "libqcow2blk.so.0"

static void
read_something (void *library)
{
  char buffer[512];
  qcow2blk_image *image;
  int (*open_it) (const char *, const qcow2blk_options *, qcow2blk_image **, uint32_t);
  ssize_t (*pread_it) (qcow2blk_image *, void *, size_t, uint64_t, uint32_t);
  int (*close_it) (qcow2blk_image *, uint32_t);
  *(void **) &open_it = dlsym (library, "qcow2blk_image_open");
  *(void **) &pread_it = dlvsym (library, "qcow2blk_image_pread", "QCOW2BLK_0.1");
  *(void **) &close_it = dlsym (library, "qcow2blk_image_close");
  CHECK (open_it != NULL && pread_it != NULL && close_it != NULL);
  CHECK_EQ (0, open_it (shared_image ("plain.qcow2"), NULL, &image, QCOW2BLK_OPEN_READ_ONLY));
  CHECK_EQ (512, pread_it (image, buffer, sizeof buffer, 64 * KiB, 0));
  CHECK_BYTES (2, buffer, 512);
  CHECK_EQ (0, close_it (image, 0));
}

/* No handler, no thread, no descriptor, no change of the environment. */
static void
check_untouched (int descriptors)
{
  for (int signal = 1; signal < 65; signal++) {
    struct sigaction action;
    if (sigaction (signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL) FAIL ("signal %d has a handler", signal);
  }
  CHECK_EQ (1, count_threads ());
  CHECK_EQ (descriptors, count_descriptors ());
}

int
main (void)
{
  int descriptors = count_descriptors ();
  extern char **environ;
  char **environment = environ;
  check_untouched (descriptors);
  CHECK (dlopen (LIBRARY, RTLD_NOW | RTLD_NOLOAD) == NULL);
  void *library = dlopen (LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) FAIL ("%s", dlerror ());
  check_untouched (descriptors);
  CHECK_EQ (0, dlclose (library));
  check_untouched (descriptors);

  /* It stays loaded, and that does no harm. */
  for (int i = 0; i < 3; i++) {
    library = dlopen (LIBRARY, RTLD_NOW | RTLD_LOCAL);
    CHECK (library != NULL);
    read_something (library);
    CHECK_EQ (0, dlclose (library));
    CHECK (dlopen (LIBRARY, RTLD_NOW | RTLD_NOLOAD) != NULL);
  }
  CHECK (environ == environment);
  return 0;
}
