/* The C library with a real block device: attach, I/O, suspend and snapshot, a server that is killed, detach.
 *
 * Usage: library-device IMAGE TRANSPORT        (run by the case "library"; says "ok" or what was not as promised) */
#define _GNU_SOURCE
#include <qcow2blk.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BYTES 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int state = -1, server = -1, losses, successors;

static void
fail (const char *format, ...)
{
  va_list values;

  va_start (values, format);
  vprintf (format, values);
  va_end (values);
  printf (" (%s)\n", qcow2blk_last_error ());
  exit (1);
}

static void
hear (void *user_data, const struct qcow2blk_device_event *event)
{
  (void) user_data;
  printf ("event %u, state %d, value %d %s\n", event->kind, event->state, event->value, event->message);
  fflush (stdout);
  pthread_mutex_lock (&lock);
  if (event->kind == QCOW2BLK_EVENT_STATE)
    state = event->state;
  if (event->kind == QCOW2BLK_EVENT_SERVER) {
    server = event->value;
    losses += event->value == 0;
    successors += event->value > 0;
  }
  pthread_cond_broadcast (&changed);
  pthread_mutex_unlock (&lock);
}

static void
wait_until (int *what, int value, const char *promise)
{
  struct timespec due;

  clock_gettime (CLOCK_REALTIME, &due);
  due.tv_sec += 60;
  pthread_mutex_lock (&lock);
  while (*what != value)
    if (pthread_cond_timedwait (&changed, &lock, &due) != 0)
      fail ("%s: no event tells of it", promise);
  pthread_mutex_unlock (&lock);
}

static int
server_of (qcow2blk_device *device)
{
  char status[16384];
  const char *pid;

  if (qcow2blk_device_status (device, status, sizeof status, 0) < 0)
    fail ("no status");
  pid = strstr (status, "\"pid\":");
  return pid == NULL ? -1 : atoi (pid + 6);
}

static void
transfer (const char *node, int is_write, int value)
{
  static char buffer[BYTES] __attribute__ ((aligned (4096)));
  int fd = open (node, (is_write ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);

  if (fd < 0)
    fail ("cannot open %s", node);
  memset (buffer, value, sizeof buffer);
  if (is_write && (pwrite (fd, buffer, BYTES, 0) != BYTES || fsync (fd) != 0))
    fail ("cannot write %s", node);
  memset (buffer, 0, sizeof buffer);
  if (pread (fd, buffer, BYTES, 0) != BYTES)
    fail ("cannot read %s", node);
  for (int i = 0; i < BYTES; i++)
    if (buffer[i] != (char) value)
      fail ("byte %d of %s is %d and not %d", i, node, buffer[i], value);
  close (fd);
}

static void
run (char **command)
{
  int status;
  pid_t child;

  if (posix_spawnp (&child, command[0], NULL, NULL, command, environ) != 0 || waitpid (child, &status, 0) != child || status != 0)
    fail ("%s has failed", command[0]);
}

int
main (int argc, char **argv)
{
  qcow2blk_options *options;
  qcow2blk_device *device, *other;
  char node[256];
  int first;

  if (argc != 3)
    return 2;
  if (qcow2blk_options_create (&options, 0) < 0 || qcow2blk_options_set (options, "transport", argv[2], 0) < 0
      || qcow2blk_device_attach (argv[1], options, &device, 0) < 0)
    fail ("cannot attach %s", argv[1]);
  qcow2blk_options_close (options, 0);
  if (qcow2blk_device_path (device, node, sizeof node) <= 0)
    fail ("the device has no node");
  printf ("attached as %s, served by %d\n", node, first = server_of (device));
  if (first <= 0 || first == getpid ())
    fail ("a block device has a server of its own");
  if (qcow2blk_device_set_event_callback (device, hear, NULL, 0) < 0)
    fail ("cannot hear events");
  wait_until (&state, QCOW2BLK_STATE_RUNNING, "running");
  transfer (node, 1, 0x41);

  if (qcow2blk_device_suspend (device, -1, 0) < 0)
    fail ("cannot suspend");
  wait_until (&state, QCOW2BLK_STATE_SUSPENDED, "suspended");
  run ((char *[]) { "qemu-img", "snapshot", "-c", "one", argv[1], NULL });
  if (qcow2blk_device_resume (device, -1, 0) < 0)
    fail ("cannot resume");
  transfer (node, 1, 0x42);

  kill (first, SIGKILL);
  wait_until (&losses, 1, "the server is dead");
  transfer (node, 0, 0x42);
  wait_until (&successors, 1, "another server");
  wait_until (&state, QCOW2BLK_STATE_RUNNING, "running again");
  if (server == first || server <= 0 || server_of (device) != server)
    fail ("the next server is %d", server);

  /* Another handle, as another program has: it goes without the device. */
  if (qcow2blk_device_open (node, &other, 0) < 0 || qcow2blk_device_close (other, 0) < 0)
    fail ("no second handle");
  transfer (node, 1, 0x43);

  /* It looks at a device that was written, and would lose it in the middle. */
  run ((char *[]) { "udevadm", "settle", NULL });
  if (qcow2blk_device_detach (device, -1, 0) < 0)
    fail ("cannot detach");
  wait_until (&state, QCOW2BLK_STATE_ENDED, "ended");
  if (qcow2blk_device_state (device, 0) != QCOW2BLK_STATE_ENDED || qcow2blk_device_close (device, 0) < 0)
    fail ("the device has not ended");
  printf ("ok\n");
  return 0;
}
