/* A queue: its descriptor, waiting, signals, several images, and its end. */
#include "aio.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/time.h>

static char buffer[3][512];

static void
check_limits (void)
{
  qcow2blk_queue *queue = (qcow2blk_queue *) &queue;
  CHECK_ERR (EINVAL, qcow2blk_queue_create (NULL, 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_queue_create (&queue, 0, 0));
  CHECK (queue == NULL);
  CHECK_ERR (EINVAL, qcow2blk_queue_create (&queue, 65537, 0));
  CHECK_ERR (EINVAL, qcow2blk_queue_create (&queue, 1, 1));
  CHECK_OK (qcow2blk_queue_create (&queue, 65536, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  CHECK_ERR (EINVAL, qcow2blk_queue_close (queue, 0));
  CHECK_ERR (EINVAL, qcow2blk_queue_fd (queue));
}

/* Readable exactly while completions wait. */
static void
check_descriptor (qcow2blk_image *image)
{
  qcow2blk_queue *queue = make_queue (2);
  struct qcow2blk_notify notify = to_queue (queue, NULL);
  struct qcow2blk_completion done[2];
  int descriptor = qcow2blk_queue_fd (queue), epoll = epoll_create1 (0);
  struct epoll_event event = { .events = EPOLLIN };
  CHECK (descriptor >= 0 && fcntl (descriptor, F_GETFD) == FD_CLOEXEC);
  CHECK_EQ (0, epoll_ctl (epoll, EPOLL_CTL_ADD, descriptor, &event));
  CHECK_EQ (0, epoll_wait (epoll, &event, 1, 0));
  CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffer[0], 512, 0, &notify, 0));
  CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffer[1], 512, 0, &notify, 0));
  CHECK_EQ (1, epoll_wait (epoll, &event, 1, 30000));
  while (qcow2blk_image_in_flight (image) > 0)
    sleep_ms (1);
  CHECK_EQ (1, qcow2blk_queue_wait (queue, done, 1, 0, 0));
  CHECK (is_readable (descriptor)); /* one more waits */
  CHECK_EQ (1, qcow2blk_queue_wait (queue, done, 2, 0, 0));
  CHECK (!is_readable (descriptor));
  CHECK_EQ (0, qcow2blk_queue_wait (queue, done, 2, 0, 0));
  close (epoll);
  CHECK_OK (qcow2blk_queue_close (queue, 0));
}

static void
on_alarm (int signal)
{
  (void) signal;
}

static void
check_waiting (void)
{
  qcow2blk_queue *queue = make_queue (1);
  struct qcow2blk_completion done;
  long long start = now_ms ();
  CHECK_EQ (0, qcow2blk_queue_wait (queue, &done, 1, 120, 0));
  CHECK (now_ms () - start >= 100);
  CHECK_ERR (EINVAL, qcow2blk_queue_wait (queue, NULL, 1, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_queue_wait (queue, &done, 1, 0, 1));

  struct sigaction action = { .sa_handler = on_alarm };
  struct itimerval soon = { { 0, 0 }, { 0, 100000 } };
  CHECK_EQ (0, sigaction (SIGALRM, &action, NULL));
  CHECK_EQ (0, setitimer (ITIMER_REAL, &soon, NULL));
  CHECK_ERR (EINTR, qcow2blk_queue_wait (queue, &done, 1, -1, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
}

static void *
wait_for_ever (void *queue)
{
  struct qcow2blk_completion done;
  CHECK_ERR (ESHUTDOWN, qcow2blk_queue_wait (queue, &done, 1, -1, 0));
  return NULL;
}

static void
check_end (void)
{
  qcow2blk_queue *queue = make_queue (8);
  pthread_t thread;
  CHECK_EQ (0, pthread_create (&thread, NULL, wait_for_ever, queue));
  sleep_ms (100);
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  CHECK_EQ (0, pthread_join (thread, NULL));

  /* An image that nobody drives: its requests stay in flight, and the queue stays open. */
  queue = make_queue (8);
  qcow2blk_image *still = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY | QCOW2BLK_OPEN_CALLER_LOOP);
  struct qcow2blk_notify notify = to_queue (queue, still);
  CHECK_EQ (0, qcow2blk_image_aio_pread (still, buffer[0], 512, 0, &notify, 0));
  CHECK_ERR (EBUSY, qcow2blk_queue_close (queue, 0));
  CHECK (qcow2blk_queue_fd (queue) >= 0);
  CHECK_OK (qcow2blk_image_close (still, 0));
  /* Its completion waits in the queue, and is dropped with it. */
  CHECK (is_readable (qcow2blk_queue_fd (queue)));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
}

int
main (void)
{
  qcow2blk_image *images[2] = { open_copy ("plain.qcow2"), open_copy ("empty.qcow2") };
  qcow2blk_queue *queue = make_queue (2);
  int before = count_descriptors ();
  check_limits ();
  check_descriptor (images[0]);
  check_waiting ();
  check_end ();
  CHECK_EQ (before, count_descriptors ());

  int found[2] = { 0, 0 };
  for (int i = 0; i < 2; i++) {
    struct qcow2blk_notify notify = to_queue (queue, &found[i]);
    CHECK_EQ (0, qcow2blk_image_aio_pread (images[i], buffer[i], 512, 0, &notify, 0));
  }
  for (int i = 0; i < 2; i++)
    ++*(int *) next_completion (queue).user_data;
  CHECK_EQ (1, found[0]);
  CHECK_EQ (1, found[1]);
  CHECK_BYTES (1, buffer[0], 512);
  CHECK_BYTES (0, buffer[1], 512);
  CHECK_OK (qcow2blk_image_close (images[0], 0));
  CHECK_OK (qcow2blk_image_close (images[1], 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return 0;
}
