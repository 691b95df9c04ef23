/* differ.c - copy what an overlay holds itself, and nothing of its backing files
 *
 *   cc -std=c99 differ.c -o differ $(pkg-config --cflags --libs qcow2blk)
 *   qemu-img create -f qcow2 -b base.qcow2 -F qcow2 to.qcow2 && ./differ overlay.qcow2 to.qcow2
 *
 * Shows a differential copy: block status says with depth 1 what the image itself holds, data as well as zeroes. The
 * target, on the same backing file, is the same disk afterwards; an older full copy is brought up to date.
 */
#include <stdio.h>

#include <qcow2blk.h>

struct copy {
  qcow2blk_image *source, *target;
  unsigned long long data, zeroes; /* bytes */
};

static int
copy_data (struct copy *copy, uint64_t offset, uint64_t length)
{
  static char buffer[1024 * 1024];

  while (length > 0) {
    size_t count = length < sizeof buffer ? (size_t) length : sizeof buffer;
    ssize_t result = qcow2blk_image_pread (copy->source, buffer, count, offset, 0);

    if (result >= 0)
      result = qcow2blk_image_pwrite (copy->target, buffer, count, offset, 0);
    if (result < 0)
      return (int) result;
    offset += count;
    length -= count;
  }
  return 0;
}

/* It runs on our own thread, inside qcow2blk_image_block_status(), so it may read and write. */
static int
copy_extent (void *user_data, const struct qcow2blk_extent *extent)
{
  struct copy *copy = user_data;

  if (extent->depth != 1) /* of a backing file, or of nobody */
    return 0;
  if (extent->flags & QCOW2BLK_EXTENT_ZERO) {
    copy->zeroes += extent->length;
    return qcow2blk_image_write_zeroes (copy->target, extent->offset, extent->length, 0);
  }
  copy->data += extent->length;
  return copy_data (copy, extent->offset, extent->length);
}

static int
copy_all (struct copy *copy)
{
  int64_t size = qcow2blk_image_size (copy->source);

  if (size < 0)
    return (int) size;
  return qcow2blk_image_block_status (copy->source, 0, (uint64_t) size, copy_extent, copy, 0);
}

int
main (int argc, char **argv)
{
  struct copy copy = { NULL, NULL, 0, 0 };
  int result, closed;

  if (argc != 3) {
    fprintf (stderr, "usage: differ OVERLAY TO\n");
    return 2;
  }
  result = qcow2blk_image_open (argv[1], NULL, &copy.source, QCOW2BLK_OPEN_READ_ONLY);
  if (result >= 0)
    result = qcow2blk_image_open (argv[2], NULL, &copy.target, 0);
  if (result >= 0)
    result = copy_all (&copy);
  if (result < 0)
    fprintf (stderr, "differ: %s\n", qcow2blk_last_error ());

  /* Closing writes everything out: only its result tells that the copy is safe. */
  if (copy.target != NULL && (closed = qcow2blk_image_close (copy.target, 0)) < 0) {
    fprintf (stderr, "differ: %s\n", qcow2blk_last_error ());
    result = closed;
  }
  qcow2blk_image_close (copy.source, 0);
  if (result >= 0)
    printf ("%llu bytes of data, %llu bytes of zeroes\n", copy.data, copy.zeroes);
  return result < 0;
}
