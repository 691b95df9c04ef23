/* What the tests of devices share. Each has a runtime directory of its own, so that "qcow2blk list" shows its devices only. */
#ifndef DEVICE_H
#define DEVICE_H

#include "aio.h"

/* To be called first: the library reads it when the first device is made. */
static inline void
use_own_runtime_folder (void)
{
  const char *folder = in_folder ("run");
  CHECK_EQ (0, mkdir (folder, 0700));
  setenv ("QCOW2BLK_RUNTIME_DIR", folder, 1);
}

/* Serves an image over NBD, on a socket with the name of the device. */
static inline qcow2blk_device *
attach_named (const char *path, const char *name)
{
  qcow2blk_options *options;
  qcow2blk_device *device;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "socket", format ("%s/%s.sock", test_folder (), name), 0));
  CHECK_OK (qcow2blk_options_set (options, "name", name, 0));
  CHECK_OK (qcow2blk_device_attach (path, options, &device, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  return device;
}

static inline const char *
uri_of (const char *name)
{
  return format ("'nbd+unix:///?socket=%s/%s.sock'", test_folder (), name);
}

/* A client reads a range over NBD and finds it filled with byte. */
static inline void
check_served (const char *name, int byte, long long offset, long long length)
{
  run ("qemu-io -r -f raw -c 'read -P %d %lld %lld' %s | (! grep -iE 'fail|error' >&2)", byte, offset, length, uri_of (name));
}

#endif
