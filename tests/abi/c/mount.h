/* A file system that is soon full. */
#ifndef MOUNT_H
#define MOUNT_H

#include <sys/mount.h>

#include "test.h"

static inline void
unmount_small (void)
{
  if (getpid () == test_folder_owner)
    umount2 (in_folder ("small"), MNT_DETACH);
}

/* Mounts 8 MiB of memory on the folder "small", until the test ends. */
static inline void
mount_small (void)
{
  const char *folder = in_folder ("small");
  CHECK_EQ (0, mkdir (folder, 0700));
  if (mount ("none", folder, "tmpfs", 0, "size=8m") < 0)
    FAIL ("cannot mount a tmpfs: %s", strerror (errno));
  atexit (unmount_small); /* before the folder is removed: last in, first out */
}

static inline void
grow_small (void)
{
  CHECK_EQ (0, mount ("none", in_folder ("small"), "tmpfs", MS_REMOUNT, "size=64m"));
}

#endif
