/* A process without the right to open the files of a chain can use those that a privileged parent has opened. */
#include "test.h"

#include <grp.h>

static qcow2blk_options *
options_with (int count, const int *descriptors)
{
  qcow2blk_options *options;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  for (int i = 0; i < count; i++)
    CHECK_OK (qcow2blk_options_add_fd (options, descriptors[i], 0));
  return options;
}

static void
check_refused (int count, const int *descriptors)
{
  qcow2blk_image *image = (qcow2blk_image *) &image;
  qcow2blk_options *options = options_with (count, descriptors);
  CHECK (qcow2blk_image_open (NULL, options, &image, 0) < 0);
  CHECK (image == NULL);
  CHECK_OK (qcow2blk_options_close (options, 0));
}

static void
child (const char *path, const int *chain, int read_only)
{
  qcow2blk_image *image;
  if (getuid () == 0) {
    CHECK_EQ (0, setgroups (0, NULL));
    CHECK_EQ (0, setgid (65534));
    CHECK_EQ (0, setuid (65534));
    CHECK_ERR (EACCES, qcow2blk_image_open (path, NULL, &image, 0));
  }

  check_refused (1, chain);                           /* the backing file is missing */
  check_refused (2, (int[]) { chain[1], chain[0] });  /* the wrong order */
  check_refused (2, (int[]) { read_only, chain[1] }); /* the image cannot be written */
  check_refused (3, (int[]) { chain[0], chain[1], chain[1] });

  qcow2blk_options *options = options_with (2, chain);
  CHECK_OK (qcow2blk_image_open (NULL, options, &image, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  check_disk (image, 0x11, 0, 512 * KiB);
  check_disk (image, 0x22, 512 * KiB, 256 * KiB);
  CHECK_EQ (5, qcow2blk_image_pwrite (image, "child", 5, 3 * MiB, QCOW2BLK_FUA));
  CHECK_OK (qcow2blk_image_close (image, 0));

  options = options_with (2, (int[]) { read_only, chain[1] });
  CHECK_OK (qcow2blk_image_open (NULL, options, &image, QCOW2BLK_OPEN_READ_ONLY));
  CHECK_OK (qcow2blk_options_close (options, 0));
  check_disk (image, 0x22, 512 * KiB, 256 * KiB);
  CHECK_OK (qcow2blk_image_close (image, 0));

  /* They stayed the caller's. */
  for (int i = 0; i < 2; i++)
    CHECK (fcntl (chain[i], F_GETFD) >= 0);
  _exit (0);
}

int
main (void)
{
  int status;
  const char *path = copy_of_overlay ();
  CHECK_EQ (0, chmod (path, 0600));
  CHECK_EQ (0, chmod (in_folder ("base.qcow2"), 0600));
  int chain[2] = { open (path, O_RDWR), open (in_folder ("base.qcow2"), O_RDONLY) };
  int read_only = open (path, O_RDONLY);
  CHECK (chain[0] >= 0 && chain[1] >= 0 && read_only >= 0);

  /* Before the first call: a child has no engine after it. */
  pid_t pid = fork ();
  if (pid == 0)
    child (path, chain, read_only);
  CHECK_EQ (pid, waitpid (pid, &status, 0));
  CHECK_EQ (0, status);
  close (chain[0]);
  close (chain[1]);
  close (read_only);

  char buffer[5];
  qcow2blk_image *image = open_image (path, 0);
  CHECK_EQ (5, qcow2blk_image_pread (image, buffer, 5, 3 * MiB, 0));
  CHECK (memcmp (buffer, "child", 5) == 0);
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
