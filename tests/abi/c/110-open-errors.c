/* An image that cannot be opened gives an errno, a text that names it, and no handle. */
#include "test.h"

#include <sys/resource.h>

static qcow2blk_options *options;

static void
check_refused (int error, const char *path, uint32_t flags)
{
  qcow2blk_image *image = (qcow2blk_image *) &image;
  CHECK_ERR (error, qcow2blk_image_open (path, options, &image, flags));
  CHECK (image == NULL);
  if (path != NULL && error != EINVAL)
    CHECK_CONTAINS (path, qcow2blk_last_error ());
}

/* A copy of v2.qcow2 or empty.qcow2 with one byte of its header changed. */
static const char *
changed (const char *name, int offset, unsigned char byte)
{
  const char *path = copy_of (name);
  int file = open (path, O_WRONLY);
  CHECK_EQ (1, pwrite (file, &byte, 1, offset));
  close (file);
  return path;
}

int
main (void)
{
  qcow2blk_image *image;
  check_refused (ENOENT, in_folder ("missing.qcow2"), 0);
  check_refused (ENOENT, in_folder ("missing/disk.qcow2"), 0);
  check_refused (ENOTDIR, format ("%s/disk.qcow2", shared_image ("raw.img")), 0);
  check_refused (EUCLEAN, shared_image ("damaged.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  check_refused (EINVAL, NULL, 0);
  check_refused (EINVAL, shared_image ("plain.qcow2"), 1U << 31);
  check_refused (EINVAL, shared_image ("plain.qcow2"), 4);
  CHECK_ERR (EINVAL, qcow2blk_image_open (shared_image ("plain.qcow2"), NULL, NULL, QCOW2BLK_OPEN_READ_ONLY));

  /* The format is not guessed, and what is not qcow2 is not opened. */
  image = (qcow2blk_image *) &image;
  CHECK (qcow2blk_image_open (shared_image ("raw.img"), NULL, &image, QCOW2BLK_OPEN_READ_ONLY) < 0);
  CHECK (image == NULL);

  /* crypt_method (bytes 32 to 35) AES; an incompatible feature (bytes 72 to 79) that nobody knows. */
  check_refused (ENOTSUP, changed ("v2.qcow2", 35, 1), 0);
  check_refused (ENOTSUP, changed ("empty.qcow2", 72, 0x80), 0);

  /* A backing file that is missing, and one that the options do not allow. */
  check_refused (ENOENT, copy_of ("overlay.qcow2"), 0);
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "no-backing", "true", 0));
  image = (qcow2blk_image *) &image;
  CHECK (qcow2blk_image_open (shared_image ("overlay.qcow2"), options, &image, QCOW2BLK_OPEN_READ_ONLY) < 0);
  CHECK (image == NULL);
  CHECK_OK (qcow2blk_options_close (options, 0));
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "snapshot", "never made", 0));
  image = (qcow2blk_image *) &image;
  CHECK (qcow2blk_image_open (shared_image ("snapshots.qcow2"), options, &image, 0) < 0);
  CHECK (image == NULL);
  CHECK_OK (qcow2blk_options_close (options, 0));
  options = NULL;

  struct rlimit limit, none = { 0, 0 };
  CHECK_EQ (0, getrlimit (RLIMIT_NOFILE, &limit));
  none.rlim_max = limit.rlim_max;
  int descriptors = count_descriptors ();
  const char *path = shared_image ("plain.qcow2");
  CHECK_EQ (0, setrlimit (RLIMIT_NOFILE, &none));
  check_refused (EMFILE, path, QCOW2BLK_OPEN_READ_ONLY);
  CHECK_EQ (0, setrlimit (RLIMIT_NOFILE, &limit));
  CHECK_EQ (descriptors, count_descriptors ());
  CHECK_OK (qcow2blk_image_close (open_image (path, QCOW2BLK_OPEN_READ_ONLY), 0));
  return 0;
}
