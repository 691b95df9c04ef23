/* read.c - print a range of an image in hexadecimal
 *
 *   cc -std=c99 read.c -o read $(pkg-config --cflags --libs qcow2blk)
 *   ./read disk.qcow2 0 512
 *
 * Shows how to open an image read-only, read, and tell of errors. Other programs may read the image at the same time.
 */
#include <stdio.h>
#include <stdlib.h>

#include <qcow2blk.h>

static int
fail (const char *what)
{
  /* The text of the last error of this thread names the file and the reason. */
  fprintf (stderr, "read: %s: %s\n", what, qcow2blk_last_error ());
  return 1;
}

static void
print_line (uint64_t offset, const unsigned char *bytes, size_t count)
{
  size_t i;

  printf ("%010llx ", (unsigned long long) offset);
  for (i = 0; i < count; i++)
    printf (" %02x", bytes[i]);
  printf ("\n");
}

static int
dump (qcow2blk_image *image, uint64_t offset, uint64_t length)
{
  unsigned char buffer[64 * 1024];

  while (length > 0) {
    size_t i, count = length < sizeof buffer ? (size_t) length : sizeof buffer;

    /* Never short: it is count, or an error. No alignment is needed. */
    if (qcow2blk_image_pread (image, buffer, count, offset, 0) < 0)
      return fail ("cannot read");
    for (i = 0; i < count; i += 16)
      print_line (offset + i, buffer + i, count - i < 16 ? count - i : 16);
    offset += count;
    length -= count;
  }
  return 0;
}

int
main (int argc, char **argv)
{
  qcow2blk_image *image;
  int status;

  if (argc != 4) {
    fprintf (stderr, "usage: read IMAGE OFFSET LENGTH\n");
    return 2;
  }
  if (qcow2blk_image_open (argv[1], NULL, &image, QCOW2BLK_OPEN_READ_ONLY) < 0)
    return fail ("cannot open the image");
  status = dump (image, strtoull (argv[2], NULL, 0), strtoull (argv[3], NULL, 0));
  qcow2blk_image_close (image, 0);
  return status;
}
