/* A device tells of its state as it changes, whoever changed it. */
#include "device.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int states[64], count_states;
static qcow2blk_device *device;

static void
on_event (void *user_data, const struct qcow2blk_device_event *event)
{
  CHECK (user_data == states);
  CHECK (event->size >= sizeof *event);
  CHECK (event->message != NULL);
  CHECK_ERR (EDEADLK, qcow2blk_device_set_event_callback (device, NULL, NULL, 0));
  CHECK_ERR (EDEADLK, qcow2blk_device_close (device, 0));
  pthread_mutex_lock (&lock);
  if (event->kind == QCOW2BLK_EVENT_STATE && count_states < 64)
    states[count_states++] = event->state;
  pthread_mutex_unlock (&lock);
}

/* The states so far, without repetitions, end with state within ten seconds. */
static void
wait_for_state (int state)
{
  int last = -1;
  for (int i = 0; i < 1000 && last != state; i++) {
    pthread_mutex_lock (&lock);
    last = count_states > 0 ? states[count_states - 1] : -1;
    pthread_mutex_unlock (&lock);
    if (last != state)
      sleep_ms (10);
  }
  CHECK_EQ (state, last);
}

static void
check_not_called (void)
{
  int before = count_states;
  sleep_ms (200);
  CHECK_EQ (before, count_states);
}

int
main (void)
{
  use_own_runtime_folder ();
  device = attach_named (copy_of ("plain.qcow2"), "disk");
  CHECK_ERR (EINVAL, qcow2blk_device_set_event_callback (device, on_event, states, 1));
  CHECK_OK (qcow2blk_device_set_event_callback (device, on_event, states, 0));
  wait_for_state (QCOW2BLK_STATE_RUNNING);
  CHECK_EQ (1, count_states);
  CHECK_OK (qcow2blk_device_suspend (device, -1, 0));
  wait_for_state (QCOW2BLK_STATE_SUSPENDED);
  CHECK_OK (qcow2blk_device_resume (device, -1, 0));
  wait_for_state (QCOW2BLK_STATE_RUNNING);
  run ("qcow2blk suspend disk");
  wait_for_state (QCOW2BLK_STATE_SUSPENDED);

  CHECK_OK (qcow2blk_device_set_event_callback (device, NULL, NULL, 0));
  CHECK_OK (qcow2blk_device_resume (device, -1, 0));
  check_not_called ();
  CHECK_EQ (QCOW2BLK_STATE_SUSPENDED, states[count_states - 1]);

  CHECK_OK (qcow2blk_device_set_event_callback (device, on_event, states, 0));
  wait_for_state (QCOW2BLK_STATE_RUNNING);
  run ("qcow2blk detach disk");
  wait_for_state (QCOW2BLK_STATE_ENDED);
  CHECK_OK (qcow2blk_device_close (device, 0));
  check_not_called ();
  return 0;
}
