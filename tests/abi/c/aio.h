/* What the tests of asynchronous requests share. */
#ifndef AIO_H
#define AIO_H

#include "test.h"

static inline struct qcow2blk_notify
to_queue (qcow2blk_queue *queue, void *user_data)
{
  return (struct qcow2blk_notify) { .size = sizeof (struct qcow2blk_notify), .queue = queue, .user_data = user_data };
}

static inline struct qcow2blk_notify
to_callback (qcow2blk_completion_fn *callback, void *user_data)
{
  return (struct qcow2blk_notify) { .size = sizeof (struct qcow2blk_notify), .callback = callback, .user_data = user_data };
}

static inline qcow2blk_queue *
make_queue (uint32_t depth)
{
  qcow2blk_queue *queue;
  CHECK_OK (qcow2blk_queue_create (&queue, depth, 0));
  return queue;
}

/* The next completion, which has to come within 30 seconds. */
static inline struct qcow2blk_completion
next_completion (qcow2blk_queue *queue)
{
  struct qcow2blk_completion completion = { NULL, -1 };
  CHECK_EQ (1, qcow2blk_queue_wait (queue, &completion, 1, 30000, 0));
  return completion;
}

/* The result of the only request in flight. */
static inline int64_t
only_result (qcow2blk_queue *queue, void *user_data)
{
  struct qcow2blk_completion completion = next_completion (queue);
  CHECK (completion.user_data == user_data);
  return completion.result;
}

static inline int
is_readable (int descriptor)
{
  struct pollfd poller = { descriptor, POLLIN, 0 };
  return poll (&poller, 1, 0) == 1 && poller.revents == POLLIN;
}

/* A counter that several threads change and wait for. */
struct counter {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int value;
};

#define COUNTER { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 }

static inline void
count (struct counter *counter)
{
  pthread_mutex_lock (&counter->lock);
  counter->value++;
  pthread_cond_broadcast (&counter->changed);
  pthread_mutex_unlock (&counter->lock);
}

static inline void
wait_until (struct counter *counter, int value)
{
  struct timespec limit;
  clock_gettime (CLOCK_REALTIME, &limit);
  limit.tv_sec += 60;
  pthread_mutex_lock (&counter->lock);
  while (counter->value < value)
    if (pthread_cond_timedwait (&counter->changed, &counter->lock, &limit) != 0)
      FAIL ("waited for %d, got %d", value, counter->value);
  CHECK_EQ (value, counter->value);
  pthread_mutex_unlock (&counter->lock);
}

#endif
