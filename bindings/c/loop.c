/* loop.c - read a whole disk inside an epoll loop of one's own, with no thread of the library
 *
 *   cc -std=c99 loop.c -o loop $(pkg-config --cflags --libs qcow2blk)
 *   ./loop disk.qcow2
 *
 * Shows QCOW2BLK_OPEN_CALLER_LOOP: the image does its work inside qcow2blk_image_process(), which the loop calls after
 * requests were submitted, and when the descriptor of the image is readable. A timer stands for all else that such a
 * program does meanwhile. Prints a checksum of the disk, the sum of its bytes.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <qcow2blk.h>

#define DEPTH 8
#define BLOCK (64 * 1024)

struct block {
  size_t length;
  unsigned char buffer[BLOCK];
};

static struct block blocks[DEPTH];
static qcow2blk_image *image;
static uint64_t size, next, sum;
static int in_flight, error;

static void completed (void *user_data, int64_t result);

static void
submit_next (struct block *block)
{
  struct qcow2blk_notify notify = { sizeof notify, 0, NULL, completed, block };
  int result;

  if (next == size || error < 0)
    return;
  block->length = size - next < BLOCK ? (size_t) (size - next) : BLOCK;
  result = qcow2blk_image_aio_pread (image, block->buffer, block->length, next, &notify, 0);
  if (result < 0) {
    error = result;
    return;
  }
  next += block->length;
  in_flight++;
}

/* Runs on our own thread, inside qcow2blk_image_process(): no locks are needed. */
static void
completed (void *user_data, int64_t result)
{
  struct block *block = user_data;
  size_t i;

  in_flight--;
  if (result < 0)
    error = (int) result;
  for (i = 0; result > 0 && i < block->length; i++)
    sum += block->buffer[i];
  submit_next (block);
}

static void
run_loop (int epoll, int timer)
{
  struct epoll_event event;
  uint64_t ticks;

  while (in_flight > 0 && error >= 0) {
    /* Hands what was submitted to the kernel, and runs the callbacks of what has ended. */
    int ended = qcow2blk_image_process (image, 0);

    if (ended < 0)
      error = ended;
    if (ended == 0 && epoll_wait (epoll, &event, 1, -1) == 1 && event.data.fd == timer
        && read (timer, &ticks, sizeof ticks) == sizeof ticks)
      fprintf (stderr, "%3d %%\n", (int) (next * 100 / size));
  }
}

int
main (int argc, char **argv)
{
  struct itimerspec every_second = { { 1, 0 }, { 1, 0 } };
  struct epoll_event event = { .events = EPOLLIN };
  int i, epoll = epoll_create1 (0), timer = timerfd_create (CLOCK_MONOTONIC, 0);

  if (argc != 2)
    return fprintf (stderr, "usage: loop IMAGE\n"), 2;
  if (qcow2blk_image_open (argv[1], NULL, &image, QCOW2BLK_OPEN_READ_ONLY | QCOW2BLK_OPEN_CALLER_LOOP) < 0)
    return fprintf (stderr, "loop: %s\n", qcow2blk_last_error ()), 1;

  event.data.fd = qcow2blk_image_fd (image);
  epoll_ctl (epoll, EPOLL_CTL_ADD, event.data.fd, &event);
  event.data.fd = timer;
  epoll_ctl (epoll, EPOLL_CTL_ADD, timer, &event);
  timerfd_settime (timer, 0, &every_second, NULL);

  size = (uint64_t) qcow2blk_image_size (image);
  for (i = 0; i < DEPTH; i++)
    submit_next (&blocks[i]);
  run_loop (epoll, timer);
  if (error < 0)
    fprintf (stderr, "loop: %s\n", strerror (-error));
  else
    printf ("%llu\n", (unsigned long long) sum);
  qcow2blk_image_close (image, 0);
  return error < 0;
}
