/* copy.c - copy the disk of one image into another one, with many requests in flight
 *
 *   cc -std=c99 copy.c -o copy $(pkg-config --cflags --libs qcow2blk)
 *   qemu-img create -f qcow2 to.qcow2 64M && ./copy from.qcow2 to.qcow2
 *
 * Shows asynchronous I/O with a completion queue and poll() on its descriptor, and block status, which says what need
 * not be read. The target has to be empty and at least as large.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <qcow2blk.h>

#define DEPTH 16
#define BLOCK (256 * 1024)

/* One block on its way: it is read, then written, then free for the next one. */
struct block {
  uint64_t offset;
  size_t length;
  int is_written;
  char buffer[BLOCK];
};

static struct block blocks[DEPTH];
static struct block *idle[DEPTH];
static int idle_count;
static qcow2blk_image *source, *target;
static qcow2blk_queue *queue;

static int
submit (struct block *block)
{
  struct qcow2blk_notify notify = { sizeof notify, 0, queue, NULL, block };

  if (block->is_written)
    return qcow2blk_image_aio_pwrite (target, block->buffer, block->length, block->offset, &notify, 0);
  return qcow2blk_image_aio_pread (source, block->buffer, block->length, block->offset, &notify, 0);
}

/* Waits until something has ended: what was read is to be written now, what was written is done. */
static int
take_completions (void)
{
  struct qcow2blk_completion done[DEPTH];
  struct pollfd poller = { qcow2blk_queue_fd (queue), POLLIN, 0 };
  int i, count, result;

  if (poll (&poller, 1, -1) < 0)
    return errno == EINTR ? 0 : -errno;
  count = qcow2blk_queue_wait (queue, done, DEPTH, 0, 0);
  for (i = 0; i < count; i++) {
    struct block *block = done[i].user_data;

    if (done[i].result < 0)
      return (int) done[i].result;
    if (block->is_written)
      idle[idle_count++] = block;
    else {
      block->is_written = 1;
      if ((result = submit (block)) < 0)
        return result;
    }
  }
  return count < 0 ? count : 0;
}

/* Called for each range of the source that is alike. */
static int
copy_extent (void *user_data, const struct qcow2blk_extent *extent)
{
  uint64_t offset = extent->offset, end = extent->offset + extent->length;
  int result;

  (void) user_data;
  if (extent->flags & QCOW2BLK_EXTENT_ZERO) /* the target is empty: it reads as zeroes anyway */
    return 0;
  while (offset < end) {
    while (idle_count == 0)
      if ((result = take_completions ()) < 0)
        return result;
    struct block *block = idle[--idle_count];
    block->offset = offset;
    block->length = end - offset < BLOCK ? (size_t) (end - offset) : BLOCK;
    block->is_written = 0;
    if ((result = submit (block)) < 0)
      return result;
    offset += block->length;
  }
  return 0;
}

/* Every block of the source that is not zero, and then what is still in flight. */
static int
copy_all (void)
{
  int64_t size = qcow2blk_image_size (source);
  int result = qcow2blk_image_block_status (source, 0, (uint64_t) size, copy_extent, NULL, 0);

  while (result >= 0 && idle_count < DEPTH)
    result = take_completions ();
  return result < 0 ? result : qcow2blk_image_flush (target, 0);
}

int
main (int argc, char **argv)
{
  int result;

  if (argc != 3)
    return fprintf (stderr, "usage: copy FROM TO\n"), 2;
  for (idle_count = 0; idle_count < DEPTH; idle_count++)
    idle[idle_count] = &blocks[idle_count];
  if (qcow2blk_image_open (argv[1], NULL, &source, QCOW2BLK_OPEN_READ_ONLY) < 0
      || qcow2blk_image_open (argv[2], NULL, &target, 0) < 0 || qcow2blk_queue_create (&queue, DEPTH, 0) < 0)
    return fprintf (stderr, "copy: %s\n", qcow2blk_last_error ()), 1;

  if ((result = copy_all ()) < 0)
    fprintf (stderr, "copy: copying: %s\n", strerror (-result));
  /* Closing waits for what is in flight, and writes everything out: its result counts. */
  qcow2blk_image_close (source, 0);
  if (qcow2blk_image_close (target, 0) < 0) {
    fprintf (stderr, "copy: %s\n", qcow2blk_last_error ());
    result = -EIO;
  }
  qcow2blk_queue_close (queue, 0);
  return result < 0;
}
