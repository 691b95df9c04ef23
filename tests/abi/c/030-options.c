/* Options have the names and values of the command line, are checked when they are set, and can be used again and again. */
#include "test.h"

static qcow2blk_options *options;

static void
check_refused (const char *name, const char *value, const char *said)
{
  CHECK_ERR (EINVAL, qcow2blk_options_set (options, name, value, 0));
  CHECK_CONTAINS (said, qcow2blk_last_error ());
}

static void
check_descriptors (void)
{
  CHECK_ERR (EBADF, qcow2blk_options_add_fd (options, -1, 0));
  CHECK_ERR (EBADF, qcow2blk_options_add_fd (options, 1000000, 0));
  int null = open ("/dev/null", O_RDWR), before = count_descriptors (), result = 0, given = 0;
  CHECK_ERR (EINVAL, qcow2blk_options_add_fd (options, null, 1));
  CHECK_EQ (before, count_descriptors ());
  while (given < 1000 && (result = qcow2blk_options_add_fd (options, null, 0)) == 0)
    given++;
  CHECK_EQ (-E2BIG, result);
  CHECK_EQ (before + given, count_descriptors ());
  CHECK_OK (qcow2blk_options_close (options, 0));
  CHECK_EQ (before, count_descriptors ());
  CHECK (fcntl (null, F_GETFD) >= 0);
}

int
main (void)
{
  qcow2blk_image *first, *second;
  CHECK_ERR (EINVAL, qcow2blk_options_create (NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_options_create (&options, 1));
  CHECK_OK (qcow2blk_options_create (&options, 0));

  check_refused ("no-such-option", "1", "no-such-option");
  check_refused ("cache-size", "a lot", "a lot");
  check_refused ("read-only", "maybe", "maybe");
  check_refused ("discard", "sometimes", "sometimes");
  check_refused ("--read-only", "true", "--read-only");
  CHECK_ERR (EINVAL, qcow2blk_options_set (options, NULL, "1", 0));
  CHECK_ERR (EINVAL, qcow2blk_options_set (options, "read-only", NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_options_set (options, "read-only", "true", 1));

  CHECK_OK (qcow2blk_options_set (options, "cache-size", "4M", 0));
  CHECK_OK (qcow2blk_options_set (options, "read-only", "true", 0));
  CHECK_OK (qcow2blk_options_set (options, "backing-dir", "/usr", 0));
  CHECK_OK (qcow2blk_options_set (options, "backing-dir", getenv ("QCOW2BLK_TEST_IMAGES"), 0));
  const char *path = shared_image ("overlay.qcow2");
  CHECK_OK (qcow2blk_image_open (path, options, &first, 0));
  CHECK_OK (qcow2blk_image_open (path, options, &second, 0));
  CHECK_EQ (1, qcow2blk_image_is_read_only (first));

  /* What is set later, or closed, does not change what is open. */
  CHECK_OK (qcow2blk_options_set (options, "read-only", "false", 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  CHECK_EQ (1, qcow2blk_image_is_read_only (second));
  check_disk (first, 0x11, 0, 512 * KiB);
  CHECK_OK (qcow2blk_image_close (first, 0));
  CHECK_OK (qcow2blk_image_close (second, 0));
  CHECK_ERR (EINVAL, qcow2blk_options_set (options, "read-only", "true", 0));

  /* A raw image is one only if the options say so. */
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "format", "raw", 0));
  CHECK_OK (qcow2blk_image_open (shared_image ("raw.img"), options, &first, QCOW2BLK_OPEN_READ_ONLY));
  CHECK_EQ (MiB, qcow2blk_image_size (first));
  check_disk (first, 0x5a, 0, MiB);
  CHECK_OK (qcow2blk_image_close (first, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));

  /* Those of devices mean nothing for an image. */
  const char *of_devices[][2] = { { "socket", "/tmp/x" }, { "name", "disk" }, { "transport", "ublk" } };
  for (int i = 0; i < 3; i++) {
    CHECK_OK (qcow2blk_options_create (&options, 0));
    CHECK_OK (qcow2blk_options_set (options, of_devices[i][0], of_devices[i][1], 0));
    CHECK_ERR (EINVAL, qcow2blk_image_open (shared_image ("plain.qcow2"), options, &first, QCOW2BLK_OPEN_READ_ONLY));
    CHECK_OK (qcow2blk_options_close (options, 0));
  }

  CHECK_OK (qcow2blk_options_create (&options, 0));
  check_descriptors ();
  return 0;
}
