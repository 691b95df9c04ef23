/* Reads 4 KiB at random places through the C library, or from a raw file with pread, and prints how many reads a second
 * that makes.
 *
 * Usage: abi_client raw|sync|queue|loop FILE SECONDS [DEPTH]
 *        abi_client extra IMAGE SECONDS RAWFILE
 *   raw    pread of a raw file, on one thread
 *   sync   qcow2blk_image_pread of an image
 *   queue  DEPTH asynchronous reads in flight, which end in a completion queue
 *   loop   the same, in a loop of this program's (QCOW2BLK_OPEN_CALLER_LOOP)
 *   extra  prints by how many nanoseconds qcow2blk_image_pread takes longer than pread, the medians of single reads that
 *          take turns: what the disk does meanwhile happens to both
 * All bypass the page cache where the file system can. Tables are cached before time is taken. */
#define _GNU_SOURCE
#include <qcow2blk.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define MAXIMUM_DEPTH 1024

static uint64_t blocks;
static uint64_t seed = 88172645463325252ULL;

static double
now (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

static uint64_t
next_offset (void)
{
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed % blocks * BLOCK;
}

static void
fail (const char *what)
{
  fprintf (stderr, "abi_client: %s: %s\n", what, qcow2blk_last_errno () != 0 ? qcow2blk_last_error () : strerror (errno));
  exit (1);
}

static void *
memory (size_t bytes)
{
  void *address = aligned_alloc (BLOCK, bytes);

  if (address == NULL)
    fail ("memory");
  memset (address, 0, bytes);
  return address;
}

static long
read_raw (const char *path, double seconds)
{
  char *buffer = memory (BLOCK);
  int fd = open (path, O_RDONLY | O_DIRECT);
  long done = 0;

  if (fd < 0)
    fail (path);
  blocks = (uint64_t) lseek (fd, 0, SEEK_END) / BLOCK;
  for (double end = now () + seconds; now () < end;) {
    for (int i = 0; i < 64; i++, done++)
      if (pread (fd, buffer, BLOCK, (off_t) next_offset ()) != BLOCK)
        fail ("pread");
  }
  close (fd);
  return done;
}

static long
read_sync (qcow2blk_image *image, double seconds)
{
  char *buffer = memory (BLOCK);
  long done = 0;

  for (double end = now () + seconds; now () < end;) {
    for (int i = 0; i < 64; i++, done++)
      if (qcow2blk_image_pread (image, buffer, BLOCK, next_offset (), 0) != BLOCK)
        fail ("qcow2blk_image_pread");
  }
  return done;
}

static int
compare (const void *one, const void *other)
{
  float a = *(const float *) one, b = *(const float *) other;

  return (a > b) - (a < b);
}

static double
read_extra (qcow2blk_image *image, const char *path, double seconds)
{
  enum { MOST = 1 << 20 };
  char *buffer = memory (BLOCK);
  float *raw = memory (MOST * sizeof *raw), *ours = memory (MOST * sizeof *ours);
  int fd = open (path, O_RDONLY | O_DIRECT);
  double end = now () + seconds, begun, between;
  size_t count = 0;

  if (fd < 0)
    fail (path);
  for (; count < MOST && now () < end; count++) {
    uint64_t offset = next_offset ();

    begun = now ();
    if (pread (fd, buffer, BLOCK, (off_t) offset) != BLOCK)
      fail ("pread");
    between = now ();
    if (qcow2blk_image_pread (image, buffer, BLOCK, next_offset (), 0) != BLOCK)
      fail ("qcow2blk_image_pread");
    ours[count] = (float) (now () - between);
    raw[count] = (float) (between - begun);
  }
  close (fd);
  qsort (raw, count, sizeof *raw, compare);
  qsort (ours, count, sizeof *ours, compare);
  return ((double) ours[count / 2] - (double) raw[count / 2]) * 1e9;
}

static void
submit (qcow2blk_image *image, qcow2blk_queue *queue, char *buffer)
{
  struct qcow2blk_notify notify = { .size = sizeof notify, .queue = queue, .user_data = buffer };

  if (qcow2blk_image_aio_pread (image, buffer, BLOCK, next_offset (), &notify, 0) < 0)
    fail ("qcow2blk_image_aio_pread");
}

static long
read_async (qcow2blk_image *image, double seconds, int depth, int is_loop)
{
  char *buffers = memory ((size_t) depth * BLOCK);
  struct qcow2blk_completion ended[MAXIMUM_DEPTH];
  struct pollfd ready = { .fd = is_loop ? qcow2blk_image_fd (image) : -1, .events = POLLIN };
  qcow2blk_queue *queue;
  int in_flight = 0;
  long done = 0;

  if (qcow2blk_queue_create (&queue, (uint32_t) depth, 0) < 0)
    fail ("qcow2blk_queue_create");
  for (; in_flight < depth; in_flight++)
    submit (image, queue, buffers + (size_t) in_flight * BLOCK);
  for (double end = now () + seconds; in_flight > 0;) {
    int is_over = now () >= end;
    int count;

    if (is_loop && qcow2blk_image_process (image, 0) == 0)
      poll (&ready, 1, -1);
    count = qcow2blk_queue_wait (queue, ended, MAXIMUM_DEPTH, is_loop ? 0 : -1, 0);
    if (count < 0)
      fail ("qcow2blk_queue_wait");
    for (int i = 0; i < count; i++) {
      if (ended[i].result != BLOCK)
        fail ("a read failed");
      if (is_over)
        in_flight--;
      else
        submit (image, queue, ended[i].user_data);
    }
    done += count;
  }
  qcow2blk_queue_close (queue, 0);
  return done;
}

int
main (int argc, char **argv)
{
  qcow2blk_image *image = NULL;
  double seconds, begun;
  int depth, is_loop;
  long done;

  if (argc < 4) {
    fprintf (stderr, "usage: abi_client raw|sync|queue|loop FILE SECONDS [DEPTH]\n       abi_client extra IMAGE SECONDS RAWFILE\n");
    return 2;
  }
  seconds = atof (argv[3]);
  depth = argc > 4 ? atoi (argv[4]) : 32;
  if (depth < 1 || depth > MAXIMUM_DEPTH)
    depth = MAXIMUM_DEPTH;
  is_loop = strcmp (argv[1], "loop") == 0;
  if (strcmp (argv[1], "raw") == 0) {
    begun = now ();
    done = read_raw (argv[2], seconds);
  } else {
    char *buffer = memory (BLOCK);

    if (qcow2blk_image_open (argv[2], NULL, &image, QCOW2BLK_OPEN_READ_ONLY | (is_loop ? QCOW2BLK_OPEN_CALLER_LOOP : 0)) < 0)
      fail (argv[2]);
    blocks = (uint64_t) qcow2blk_image_size (image) / BLOCK;

    /* Every table is read once: at least one of them holds 2 MiB of the disk. */
    for (uint64_t offset = 0; offset < blocks * BLOCK; offset += 2 << 20)
      if (qcow2blk_image_pread (image, buffer, BLOCK, offset, 0) != BLOCK)
        fail ("qcow2blk_image_pread");
    if (strcmp (argv[1], "extra") == 0 && argc > 4) {
      printf ("%.0f\n", read_extra (image, argv[4], seconds));
      return qcow2blk_image_close (image, 0) < 0;
    }
    begun = now ();
    done = strcmp (argv[1], "sync") == 0 ? read_sync (image, seconds) : read_async (image, seconds, depth, is_loop);
  }
  printf ("%.0f\n", (double) done / (now () - begun));
  if (image != NULL && qcow2blk_image_close (image, 0) < 0)
    fail ("qcow2blk_image_close");
  return 0;
}
