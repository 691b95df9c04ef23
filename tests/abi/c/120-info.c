/* What an open image tells of itself. */
#include "test.h"

static void
check_numbers (const char *name, int64_t size, int version)
{
  qcow2blk_image *image = open_image (shared_image (name), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_EQ (size, qcow2blk_image_size (image));
  CHECK_EQ (64 * KiB, qcow2blk_image_cluster_size (image));
  CHECK_EQ (version, qcow2blk_image_format_version (image));
  CHECK_EQ (1, qcow2blk_image_is_read_only (image));
  CHECK_EQ (0, qcow2blk_image_in_flight (image));
  CHECK_OK (qcow2blk_image_close (image, 0));
}

/* Strings are cut to the buffer, always end with a NUL, and their whole length is returned. */
static void
check_backing_file (qcow2blk_image *image)
{
  char buffer[64];
  memset (buffer, 'x', sizeof buffer);
  CHECK_EQ (10, qcow2blk_image_backing_file (image, buffer, sizeof buffer));
  CHECK_STR ("base.qcow2", buffer);
  CHECK_EQ ('x', buffer[11]);
  memset (buffer, 'x', sizeof buffer);
  CHECK_EQ (10, qcow2blk_image_backing_file (image, buffer, 5));
  CHECK_STR ("base", buffer);
  CHECK_EQ ('x', buffer[5]);
  CHECK_EQ (10, qcow2blk_image_backing_file (image, buffer, 1));
  CHECK_STR ("", buffer);
  CHECK_EQ (10, qcow2blk_image_backing_file (image, buffer, 0));
  CHECK_EQ (10, qcow2blk_image_backing_file (image, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_backing_file (image, NULL, 1));
}

static void
check_info (qcow2blk_image *image)
{
  ssize_t length = qcow2blk_image_info (image, NULL, 0, 0);
  CHECK (length > 0);
  char *text = malloc ((size_t) length + 1);
  CHECK_EQ (length, qcow2blk_image_info (image, text, (size_t) length + 1, 0));
  CHECK_EQ (length, strlen (text));
  const char *members[] = { "\"image\"", "\"geometry\"", "\"chain\"", "\"cache\"", "overlay.qcow2", "base.qcow2" };
  for (int i = 0; i < 6; i++)
    CHECK_CONTAINS (members[i], text);
  FILE *python = popen ("/usr/bin/python3 -c 'import json, sys; assert isinstance(json.load(sys.stdin), dict)'", "w");
  CHECK_EQ (length, fwrite (text, 1, (size_t) length, python));
  CHECK_EQ (0, pclose (python));
  CHECK_EQ (length, qcow2blk_image_info (image, text, 2, 0));
  CHECK_STR ("{", text);
  CHECK_ERR (EINVAL, qcow2blk_image_info (image, NULL, 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_info (image, text, 2, 1));
  free (text);
}

int
main (void)
{
  qcow2blk_image *image;
  check_numbers ("plain.qcow2", 64 * MiB, 3);
  check_numbers ("v2.qcow2", MiB, 2);
  check_numbers ("overlay.qcow2", 16 * MiB, 3);

  image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  char buffer[8] = "before";
  CHECK_EQ (0, qcow2blk_image_backing_file (image, buffer, sizeof buffer));
  CHECK_STR ("", buffer);
  CHECK_OK (qcow2blk_image_close (image, 0));

  image = open_image (shared_image ("overlay.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  check_backing_file (image);
  check_info (image);
  CHECK_OK (qcow2blk_image_close (image, 0));

  qcow2blk_options *options;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "format", "raw", 0));
  CHECK_OK (qcow2blk_image_open (shared_image ("raw.img"), options, &image, QCOW2BLK_OPEN_READ_ONLY));
  CHECK_EQ (0, qcow2blk_image_format_version (image));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  return 0;
}
