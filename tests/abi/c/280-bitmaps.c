/* Persistent bitmaps: what they record, as this library and as qemu see it. */
#include "aio.h"

struct found {
  struct qcow2blk_bitmap of[8];
  char names[8][32];
  int count;
};

static int
keep (void *user_data, const struct qcow2blk_bitmap *bitmap)
{
  struct found *found = user_data;
  CHECK (bitmap->size >= sizeof *bitmap && found->count < 8);
  snprintf (found->names[found->count], 32, "%s", bitmap->name);
  found->of[found->count++] = *bitmap;
  return 0;
}

static int
stop (void *user_data, const struct qcow2blk_bitmap *bitmap)
{
  (void) bitmap;
  (*(int *) user_data)++;
  return 23;
}

static struct found
bitmaps_of (qcow2blk_image *image)
{
  struct found found = { .count = 0 };
  CHECK_EQ (0, qcow2blk_image_list_bitmaps (image, keep, &found, 0));
  return found;
}

struct walk {
  uint64_t next, dirty;
  uint32_t last;
  int extents;
};

static int
add_up (void *user_data, const struct qcow2blk_extent *extent)
{
  struct walk *walk = user_data;
  CHECK_EQ (walk->next, extent->offset);
  CHECK (extent->length > 0 && (extent->flags == 0 || extent->flags == QCOW2BLK_EXTENT_DIRTY));
  CHECK_EQ (0, extent->depth);
  CHECK (walk->extents == 0 || walk->last != extent->flags);
  walk->last = extent->flags;
  walk->next += extent->length;
  walk->dirty += extent->flags == QCOW2BLK_EXTENT_DIRTY ? extent->length : 0;
  walk->extents++;
  return 0;
}

static int
stop_walk (void *user_data, const struct qcow2blk_extent *extent)
{
  (void) user_data, (void) extent;
  return 31;
}

static uint64_t
dirty_in (qcow2blk_image *image, const char *name, uint64_t offset, uint64_t length)
{
  struct walk walk = { .next = offset };
  CHECK_EQ (0, qcow2blk_image_bitmap_status (image, name, offset, length, add_up, &walk, 0));
  CHECK_EQ (offset + length, walk.next);
  return walk.dirty;
}

static void
write_some (qcow2blk_image *image, uint64_t offset, size_t count)
{
  char *buffer = calloc (1, count);
  memset (buffer, 0x42, count);
  CHECK_EQ (count, qcow2blk_image_pwrite (image, buffer, count, offset, 0));
  free (buffer);
}

static void
check_recording (uint32_t flags)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, flags);
  CHECK_EQ (0, bitmaps_of (image).count);
  CHECK_OK (qcow2blk_image_add_bitmap (image, "monday", 64 * KiB, 0));
  CHECK_OK (qcow2blk_image_add_bitmap (image, "week", 128 * KiB, QCOW2BLK_BITMAP_DISABLED));
  CHECK_OK (qcow2blk_image_add_bitmap (image, "usual", 0, 0));
  CHECK_ERR (EEXIST, qcow2blk_image_add_bitmap (image, "monday", 0, 0));

  write_some (image, 100, 10);             /* mapped: the thread itself */
  write_some (image, 40 * MiB, 128 * KiB); /* allocates */
  CHECK_OK (qcow2blk_image_write_zeroes (image, 3 * 64 * KiB, 64 * KiB, 0));
  CHECK_OK (qcow2blk_image_discard (image, 5 * 64 * KiB, 64 * KiB, 0));
  struct found found = bitmaps_of (image);
  CHECK_EQ (3, found.count);
  CHECK_STR ("monday", found.names[0]);
  CHECK_EQ (QCOW2BLK_BITMAP_RECORDS, found.of[0].flags);
  CHECK_EQ (64 * KiB, found.of[0].granularity);
  CHECK_EQ (5 * 64 * KiB, found.of[0].dirty_bytes);
  CHECK_STR ("week", found.names[1]);
  CHECK_EQ (0, found.of[1].flags);
  CHECK_EQ (0, found.of[1].dirty_bytes);
  CHECK_EQ (64 * KiB, found.of[2].granularity);
  CHECK_EQ (5 * 64 * KiB, dirty_in (image, "monday", 0, 64 * MiB));
  CHECK_EQ (64 * KiB - 10, dirty_in (image, "monday", 10, MiB / 8));
  CHECK_EQ (64 * KiB, dirty_in (image, "monday", 40 * MiB, 64 * KiB));
  CHECK_EQ (0, dirty_in (image, "monday", 41 * MiB, MiB));
  CHECK_EQ (0, dirty_in (image, "week", 0, 64 * MiB));

  CHECK_OK (qcow2blk_image_disable_bitmap (image, "monday", 0));
  write_some (image, 20 * MiB, 64 * KiB);
  CHECK_EQ (0, dirty_in (image, "monday", 20 * MiB, 64 * KiB));
  CHECK_EQ (64 * KiB, dirty_in (image, "usual", 20 * MiB, 64 * KiB));
  CHECK_OK (qcow2blk_image_merge_bitmap (image, "week", "monday", 0));
  CHECK_EQ (4 * 128 * KiB, dirty_in (image, "week", 0, 64 * MiB));
  CHECK_OK (qcow2blk_image_clear_bitmap (image, "usual", 0));
  CHECK_EQ (0, dirty_in (image, "usual", 0, 64 * MiB));
  write_some (image, MiB, 1);
  CHECK_EQ (64 * KiB, dirty_in (image, "usual", 0, 64 * MiB));
  CHECK_OK (qcow2blk_image_enable_bitmap (image, "monday", 0));
  write_some (image, 21 * MiB, 1);
  CHECK_EQ (6 * 64 * KiB, dirty_in (image, "monday", 0, 64 * MiB));
  CHECK_OK (qcow2blk_image_remove_bitmap (image, "usual", 0));
  CHECK_EQ (2, bitmaps_of (image).count);
  CHECK_OK (qcow2blk_image_close (image, 0));

  /* qemu serves the same bits. */
  run ("qemu-img check -q %s", path);
  run ("qemu-nbd -t -r -f qcow2 -B monday -k %s --fork --pid-file %s %s", in_folder ("q.sock"), in_folder ("q.pid"), path);
  const char *map = output_of ("qemu-img map --output=json --image-opts "
                               "driver=nbd,server.type=unix,server.path=%s,x-dirty-bitmap=qemu:dirty-bitmap:monday", in_folder ("q.sock"));
  int dirty = 0; /* x-dirty-bitmap shows what is dirty as "data": false */
  for (const char *at = map; (at = strstr (at, "\"data\": false")) != NULL; at++)
    dirty++;
  CHECK_EQ (5, dirty);
  run ("kill $(cat %s)", in_folder ("q.pid"));

  image = open_image (path, QCOW2BLK_OPEN_READ_ONLY);
  CHECK_EQ (6 * 64 * KiB, dirty_in (image, "monday", 0, 64 * MiB));
  CHECK_EQ (4 * 128 * KiB, dirty_in (image, "week", 0, 64 * MiB));
  CHECK_ERR (EROFS, qcow2blk_image_add_bitmap (image, "x", 0, 0));
  CHECK_ERR (EROFS, qcow2blk_image_remove_bitmap (image, "monday", 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
}

/* What qemu has recorded, and what it left in use. */
static void
check_of_qemu (void)
{
  const char *path = copy_of ("plain.qcow2");
  run ("qemu-img bitmap --add -g 65536 %s mine && qemu-io -f qcow2 -c 'write -P 9 1M 128k' %s >/dev/null", path, path);
  qcow2blk_image *image = open_image (path, 0);
  CHECK_EQ (128 * KiB, dirty_in (image, "mine", 0, 64 * MiB));
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-io -f qcow2 -c 'abort' %s >/dev/null 2>&1 || true", path);
  run ("(echo 'write 2M 64k'; echo flush; sleep 1; echo abort) | qemu-io -f qcow2 %s >/dev/null 2>&1 || true", path);
  image = open_image (path, 0);
  struct found found = bitmaps_of (image);
  CHECK_EQ (1, found.count);
  CHECK_EQ (QCOW2BLK_BITMAP_INCONSISTENT, found.of[0].flags);
  CHECK_EQ (-1, found.of[0].dirty_bytes);
  struct walk walk = { .next = 0 };
  CHECK_ERR (EIO, qcow2blk_image_bitmap_status (image, "mine", 0, MiB, add_up, &walk, 0));
  CHECK_CONTAINS ("inconsistent", qcow2blk_last_error ());
  CHECK_ERR (EIO, qcow2blk_image_clear_bitmap (image, "mine", 0));
  CHECK_OK (qcow2blk_image_remove_bitmap (image, "mine", 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
}

static int inside[5];

static void
edit_inside (void *user_data, int64_t result)
{
  qcow2blk_image *image = ((void **) user_data)[0];
  struct walk walk = { .next = 0 };
  CHECK_EQ (4096, result);
  inside[0] = qcow2blk_image_add_bitmap (image, "inside", 0, 0);
  inside[1] = qcow2blk_image_create_snapshot (image, "inside", NULL, 0, 0);
  inside[2] = qcow2blk_image_bitmap_status (image, "a", 0, MiB, add_up, &walk, 0);
  inside[3] = qcow2blk_create (in_folder ("inside.qcow2"), MiB, NULL, 0);
  inside[4] = qcow2blk_image_list_bitmaps (image, keep, NULL, 0);
  count (((void **) user_data)[1]);
}

static void
check_refused (void)
{
  qcow2blk_image *image = open_copy ("plain.qcow2");
  struct walk walk = { .next = 0 };
  int calls = 0;
  CHECK_OK (qcow2blk_image_add_bitmap (image, "a", 0, 0));
  CHECK_ERR (ENOENT, qcow2blk_image_remove_bitmap (image, "b", 0));
  CHECK_ERR (ENOENT, qcow2blk_image_clear_bitmap (image, "b", 0));
  CHECK_ERR (ENOENT, qcow2blk_image_enable_bitmap (image, "b", 0));
  CHECK_ERR (ENOENT, qcow2blk_image_disable_bitmap (image, "b", 0));
  CHECK_ERR (ENOENT, qcow2blk_image_merge_bitmap (image, "a", "b", 0));
  CHECK_ERR (ENOENT, qcow2blk_image_merge_bitmap (image, "b", "a", 0));
  CHECK_ERR (ENOENT, qcow2blk_image_bitmap_status (image, "b", 0, MiB, add_up, &walk, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_bitmap_status (image, "a", 64 * MiB - 1, 2, add_up, &walk, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_bitmap_status (image, "a", UINT64_MAX, UINT64_MAX, add_up, &walk, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_bitmap_status (image, "a", 0, MiB, NULL, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_bitmap_status (image, NULL, 0, MiB, add_up, &walk, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_bitmap_status (image, "a", 0, MiB, add_up, &walk, 1));
  CHECK_EQ (31, qcow2blk_image_bitmap_status (image, "a", 0, MiB, stop_walk, NULL, 0));
  CHECK_EQ (0, qcow2blk_image_bitmap_status (image, "a", 64 * MiB, 0, stop_walk, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_add_bitmap (image, NULL, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_add_bitmap (image, "", 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_add_bitmap (image, "c", 1000, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_add_bitmap (image, "c", UINT64_MAX, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_add_bitmap (image, "c", 0, 2));
  CHECK_ERR (EINVAL, qcow2blk_image_merge_bitmap (image, "a", NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_list_bitmaps (image, NULL, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_list_bitmaps (image, keep, NULL, 1));
  CHECK_EQ (23, qcow2blk_image_list_bitmaps (image, stop, &calls, 0));
  CHECK_EQ (1, calls);

  /* A callback cannot wait. */
  struct counter ended = COUNTER;
  void *both[] = { image, &ended };
  char buffer[4096] = "";
  struct qcow2blk_notify notify = to_callback (edit_inside, both);
  CHECK_OK (qcow2blk_image_aio_pwrite (image, buffer, sizeof buffer, 0, &notify, 0));
  wait_until (&ended, 1);
  for (int i = 0; i < 5; i++)
    CHECK_EQ (-EDEADLK, inside[i]);
  CHECK_EQ (1, bitmaps_of (image).count);
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_add_bitmap (image, "c", 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_list_bitmaps (image, keep, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_bitmap_status (image, "a", 0, 1, add_up, &walk, 0));

  image = open_image (copy_of ("v2.qcow2"), 0);
  CHECK_ERR (EIO, qcow2blk_image_add_bitmap (image, "c", 0, 0));
  CHECK_CONTAINS ("version 2", qcow2blk_last_error ());
  CHECK_OK (qcow2blk_image_close (image, 0));
}

int
main (void)
{
  check_recording (0);
  check_recording (QCOW2BLK_OPEN_CALLER_LOOP);
  check_of_qemu ();
  check_refused ();
  return 0;
}
