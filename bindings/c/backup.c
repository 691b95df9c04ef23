/* backup.c - an incremental backup: what has changed since the last run goes into a copy
 *
 *   cc -std=c99 backup.c -o backup $(pkg-config --cflags --libs qcow2blk)
 *   ./backup disk.qcow2 copy.qcow2
 *
 * Shows bitmaps. The first run makes the copy and a bitmap in the image, which records what any program writes from then
 * on; later runs copy what the bitmap has dirty and clear it. Nobody else writes the image meanwhile: it is locked.
 */
#include <stdio.h>
#include <string.h>

#include <qcow2blk.h>

#define BITMAP "backup"

struct copy {
  qcow2blk_image *source, *target;
  unsigned long long bytes;
};

static int
copy_range (struct copy *copy, uint64_t offset, uint64_t length)
{
  static char buffer[1024 * 1024];

  while (length > 0) {
    size_t count = length < sizeof buffer ? (size_t) length : sizeof buffer;
    ssize_t result = qcow2blk_image_pread (copy->source, buffer, count, offset, 0);

    if (result >= 0)
      result = qcow2blk_image_pwrite (copy->target, buffer, count, offset, 0);
    if (result < 0)
      return (int) result;
    copy->bytes += count;
    offset += count;
    length -= count;
  }
  return 0;
}

/* The first time: all that is not zero, into a copy that is empty. */
static int
copy_data (void *user_data, const struct qcow2blk_extent *extent)
{
  return extent->flags & QCOW2BLK_EXTENT_ZERO ? 0 : copy_range (user_data, extent->offset, extent->length);
}

static int
copy_dirty (void *user_data, const struct qcow2blk_extent *extent)
{
  return extent->flags & QCOW2BLK_EXTENT_DIRTY ? copy_range (user_data, extent->offset, extent->length) : 0;
}

static int
first_backup (struct copy *copy, const char *to, uint64_t size)
{
  int result = qcow2blk_create (to, (int64_t) size, NULL, 0);

  if (result >= 0)
    result = qcow2blk_image_open (to, NULL, &copy->target, 0);
  /* Before anything is copied: a bit too many costs a little time, one too few would lose data. */
  if (result >= 0)
    result = qcow2blk_image_add_bitmap (copy->source, BITMAP, 0, 0);
  if (result >= 0)
    result = qcow2blk_image_block_status (copy->source, 0, size, copy_data, copy, 0);
  return result;
}

static int
next_backup (struct copy *copy, const char *to, uint64_t size)
{
  int result = qcow2blk_image_open (to, NULL, &copy->target, 0);

  if (result >= 0)
    result = qcow2blk_image_bitmap_status (copy->source, BITMAP, 0, size, copy_dirty, copy, 0);
  if (result >= 0)
    result = qcow2blk_image_flush (copy->target, 0);
  if (result >= 0)
    result = qcow2blk_image_clear_bitmap (copy->source, BITMAP, 0);
  return result;
}

static int
is_ours (void *user_data, const struct qcow2blk_bitmap *bitmap)
{
  (void) user_data;
  return strcmp (bitmap->name, BITMAP) == 0;
}

static int
back_up (struct copy *copy, const char *to)
{
  int64_t size = qcow2blk_image_size (copy->source);
  int found = qcow2blk_image_list_bitmaps (copy->source, is_ours, NULL, 0);

  if (size < 0 || found < 0)
    return size < 0 ? (int) size : found;
  return found ? next_backup (copy, to, (uint64_t) size) : first_backup (copy, to, (uint64_t) size);
}

int
main (int argc, char **argv)
{
  struct copy copy = { NULL, NULL, 0 };
  int result, closed;

  if (argc != 3) {
    fprintf (stderr, "usage: backup IMAGE COPY\n");
    return 2;
  }
  result = qcow2blk_image_open (argv[1], NULL, &copy.source, 0);
  if (result >= 0)
    result = back_up (&copy, argv[2]);
  if (result < 0)
    fprintf (stderr, "backup: %s\n", qcow2blk_last_error ());
  if (copy.target != NULL && (closed = qcow2blk_image_close (copy.target, 0)) < 0) {
    fprintf (stderr, "backup: %s\n", qcow2blk_last_error ());
    result = closed;
  }
  if (copy.source != NULL && (closed = qcow2blk_image_close (copy.source, 0)) < 0) {
    fprintf (stderr, "backup: %s\n", qcow2blk_last_error ());
    result = closed;
  }
  if (result >= 0)
    printf ("%llu bytes copied\n", copy.bytes);
  return result < 0;
}
