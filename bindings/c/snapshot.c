/* snapshot.c - attach an image, and make an internal snapshot while it is in use
 *
 *   cc -std=c99 snapshot.c -o snapshot $(pkg-config --cflags --libs qcow2blk)
 *   ./snapshot disk.qcow2 monday /run/disk.sock     serve NBD on a socket, in this process
 *   ./snapshot disk.qcow2 monday                    make a block device, with a process of its own
 *
 * Shows devices: attach, suspend, let another program edit the file, resume, detach. Requests of clients wait while the
 * device is suspended; none fails.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <qcow2blk.h>

static int
fail (const char *what)
{
  fprintf (stderr, "snapshot: %s: %s\n", what, qcow2blk_last_error ());
  return 1;
}

/* A child has no engine after fork(); it may exec, and that is all we need. */
static int
run_qemu_img (const char *image, const char *name)
{
  int status = 1;
  pid_t child = fork ();

  if (child == 0) {
    execlp ("qemu-img", "qemu-img", "snapshot", "-c", name, image, (char *) NULL);
    _exit (127);
  }
  if (child < 0 || waitpid (child, &status, 0) < 0 || status != 0) {
    fprintf (stderr, "snapshot: qemu-img failed\n");
    return 1;
  }
  return 0;
}

static int
make_snapshot (qcow2blk_device *device, const char *image, const char *name)
{
  int status;

  /* All that was written is in the file now, and the file is closed and unlocked. */
  if (qcow2blk_device_suspend (device, -1, 0) < 0)
    return fail ("cannot suspend");
  status = run_qemu_img (image, name);
  if (qcow2blk_device_resume (device, -1, 0) < 0)
    return fail ("cannot resume; requests still wait");
  return status;
}

static int
attach (const char *image, const char *socket, qcow2blk_device **device)
{
  qcow2blk_options *options;
  int result = qcow2blk_options_create (&options, 0);

  if (result >= 0 && socket != NULL)
    result = qcow2blk_options_set (options, "socket", socket, 0);
  if (result >= 0)
    result = qcow2blk_device_attach (image, options, device, 0);
  if (result < 0)
    fail ("cannot attach");
  qcow2blk_options_close (options, 0);
  return result;
}

int
main (int argc, char **argv)
{
  qcow2blk_device *device;
  char where[256];
  int status;

  if (argc != 3 && argc != 4) {
    fprintf (stderr, "usage: snapshot IMAGE NAME [SOCKET]\n");
    return 2;
  }
  if (attach (argv[1], argv[3], &device) < 0)
    return 1;
  if (qcow2blk_device_uri (device, where, sizeof where) == 0)
    qcow2blk_device_path (device, where, sizeof where);
  printf ("attached: %s\n", where);
  fflush (stdout);

  status = make_snapshot (device, argv[1], argv[2]);
  if (qcow2blk_device_detach (device, -1, 0) < 0)
    status = fail ("cannot detach");
  qcow2blk_device_close (device, 0);
  return status;
}
