/* With QCOW2BLK_OPEN_CALLER_LOOP an image has no thread: all of its work is done inside the caller's calls. */
#include "aio.h"

#include <sys/syscall.h>

#define REQUESTS 100

static qcow2blk_image *image;
static unsigned char buffers[REQUESTS][4096];
static int ended;

static void
on_end (void *user_data, int64_t result)
{
  CHECK_EQ (4096, result);
  CHECK_EQ (getpid (), syscall (SYS_gettid));
  CHECK_ERR (EDEADLK, qcow2blk_image_process (image, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_pread (image, buffers[0], 1, 0, 0));
  CHECK_ERR (EDEADLK, qcow2blk_image_close (image, 0));
  ++*(int *) user_data;
}

/* Drives the image as an event loop does. */
static void
run_until (int *value, int wanted)
{
  struct pollfd poller = { qcow2blk_image_fd (image), POLLIN, 0 };
  CHECK (poller.fd >= 0);
  while (*value < wanted) {
    int result = qcow2blk_image_process (image, 0);
    CHECK_OK (result);
    if (result == 0 && *value < wanted)
      CHECK_EQ (1, poll (&poller, 1, 30000));
  }
  CHECK_EQ (wanted, *value);
}

static void *
other_thread (void *unused)
{
  (void) unused;
  struct qcow2blk_notify notify = to_callback (on_end, &ended);
  CHECK_ERR (EPERM, qcow2blk_image_pread (image, buffers[0], 1, 0, 0));
  CHECK_ERR (EPERM, qcow2blk_image_aio_pread (image, buffers[0], 1, 0, &notify, 0));
  CHECK_ERR (EPERM, qcow2blk_image_process (image, 0));
  CHECK_ERR (EPERM, qcow2blk_image_flush (image, 0));
  CHECK_ERR (EPERM, qcow2blk_image_close (image, 0));
  return NULL;
}

int
main (void)
{
  const char *path = copy_of ("plain.qcow2");
  image = open_image (path, QCOW2BLK_OPEN_CALLER_LOOP); /* now the runtime is there, with a thread and a descriptor */
  CHECK_OK (qcow2blk_image_close (image, 0));
  int threads = count_threads (), descriptors = count_descriptors ();
  image = open_image (path, QCOW2BLK_OPEN_CALLER_LOOP);
  CHECK_EQ (threads, count_threads ());

  for (int i = 0; i < REQUESTS; i++) {
    struct qcow2blk_notify notify = to_callback (on_end, &ended);
    CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffers[i], 4096, (uint64_t) i * 40000, &notify, 0));
  }
  CHECK_EQ (0, ended);
  CHECK_EQ (REQUESTS, qcow2blk_image_in_flight (image));
  run_until (&ended, REQUESTS);
  CHECK_EQ (0, qcow2blk_image_in_flight (image));
  CHECK_EQ (0, qcow2blk_image_process (image, 0));
  for (int i = 0; i < REQUESTS; i++)
    CHECK_EQ (i * 40000 / (64 * KiB) + 1, buffers[i][0]);

  /* New clusters. Whatever the image begins is handed to the kernel at once, not when a timer of it comes. */
  ended = 0;
  long long start = now_ms ();
  for (int i = 0; i < REQUESTS; i++) {
    struct qcow2blk_notify notify = to_callback (on_end, &ended);
    memset (buffers[i], i + 1, 4096);
    CHECK_EQ (0, qcow2blk_image_aio_pwrite (image, buffers[i], 4096, 10 * MiB + (uint64_t) i * 100000, &notify, 0));
  }
  run_until (&ended, REQUESTS);
  if (now_ms () - start > 2000) FAIL ("%d writes took %lld ms", REQUESTS, now_ms () - start);
  CHECK_EQ (threads, count_threads ());

  /* Calls that wait do the work themselves. */
  check_disk (image, 2, 10 * MiB + 100000, 4096);
  check_disk (image, 5, 4 * 64 * KiB, 64 * KiB);
  CHECK_EQ (4096, qcow2blk_image_pwrite (image, buffers[9], 4096, 50 * MiB, QCOW2BLK_FUA));
  CHECK_EQ (0, qcow2blk_image_write_zeroes (image, 0, MiB, 0));
  CHECK_EQ (0, qcow2blk_image_discard (image, 2 * MiB, MiB, 0));
  CHECK_EQ (0, qcow2blk_image_flush (image, 0));
  check_disk (image, 0, 0, MiB);
  CHECK_EQ (threads, count_threads ());

  pthread_t thread;
  CHECK_EQ (0, pthread_create (&thread, NULL, other_thread, NULL));
  CHECK_EQ (0, pthread_join (thread, NULL));

  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_EQ (threads, count_threads ());
  CHECK_EQ (descriptors, count_descriptors ());
  check_with_qemu (path, 100, 10 * MiB + 99 * 100000, 4096);
  check_with_qemu (path, 10, 50 * MiB, 4096);

  image = open_image (path, 0);
  CHECK_ERR (EINVAL, qcow2blk_image_fd (image));
  CHECK_ERR (EINVAL, qcow2blk_image_process (image, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
