/* A client of version 0.1, compiled against the header of that version: it runs with every later library of that soname. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qcow2blk-0.1.h"

#define EXPECT(condition) \
  do { \
    if (!(condition)) { \
      fprintf (stderr, "%s:%d: not true: %s (%s)\n", __FILE__, __LINE__, #condition, qcow2blk_last_error ()); \
      exit (1); \
    } \
  } while (0)

static int
on_extent (void *user_data, const struct qcow2blk_extent *extent)
{
  uint64_t *next = user_data;
  EXPECT (extent->offset == *next && extent->length > 0 && extent->flags <= 3);
  *next += extent->length;
  return 0;
}

static int
on_snapshot (void *user_data, const struct qcow2blk_snapshot *snapshot)
{
  int *count = user_data;
  EXPECT (snapshot->size >= sizeof *snapshot); /* a later library may fill in more */
  EXPECT (strcmp (snapshot->name, *count == 0 ? "before" : "after") == 0);
  EXPECT (snapshot->disk_size == 1048576);
  ++*count;
  return 0;
}

int
main (void)
{
  static unsigned char buffer[65536];
  char path[4096];
  const char *folder = getenv ("QCOW2BLK_TEST_IMAGES");
  qcow2blk_options *options;
  qcow2blk_image *image;
  qcow2blk_queue *queue;
  struct qcow2blk_completion done;
  uint64_t next = 0;
  int snapshots = 0;

  EXPECT (folder != NULL);
  EXPECT (QCOW2BLK_VERSION == 0x000100);
  EXPECT (qcow2blk_version () >= QCOW2BLK_VERSION);
  EXPECT (qcow2blk_options_create (&options, 0) == 0);
  EXPECT (qcow2blk_options_set (options, "cache-size", "4M", 0) == 0);

  snprintf (path, sizeof path, "%s/overlay.qcow2", folder);
  EXPECT (qcow2blk_image_open (path, options, &image, QCOW2BLK_OPEN_READ_ONLY) == 0);
  EXPECT (qcow2blk_image_size (image) == 16777216);
  EXPECT (qcow2blk_image_pread (image, buffer, sizeof buffer, 524288, 0) == sizeof buffer);
  EXPECT (buffer[0] == 0x22 && buffer[65535] == 0x22);
  EXPECT (qcow2blk_image_block_status (image, 0, 16777216, on_extent, &next, 0) == 0 && next == 16777216);

  EXPECT (qcow2blk_queue_create (&queue, 8, 0) == 0);
  struct qcow2blk_notify notify = { sizeof notify, 0, queue, NULL, &next };
  EXPECT (qcow2blk_image_aio_pread (image, buffer, sizeof buffer, 0, &notify, 0) == 0);
  EXPECT (qcow2blk_queue_wait (queue, &done, 1, 30000, 0) == 1);
  EXPECT (done.user_data == &next && done.result == sizeof buffer && buffer[1] == 0x11);
  EXPECT (qcow2blk_image_close (image, 0) == 0);
  EXPECT (qcow2blk_queue_close (queue, 0) == 0);
  EXPECT (qcow2blk_options_close (options, 0) == 0);

  snprintf (path, sizeof path, "%s/snapshots.qcow2", folder);
  EXPECT (qcow2blk_image_open (path, NULL, &image, QCOW2BLK_OPEN_READ_ONLY) == 0);
  EXPECT (qcow2blk_image_list_snapshots (image, on_snapshot, &snapshots, 0) == 0 && snapshots == 2);
  EXPECT (qcow2blk_image_close (image, 0) == 0);
  EXPECT (qcow2blk_image_close (image, 0) == -22);
  return 0;
}
