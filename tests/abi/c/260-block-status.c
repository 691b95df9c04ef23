/* Block status covers its range without gaps, and says which image of the chain has what. */
#include "test.h"

#define HOLE QCOW2BLK_EXTENT_HOLE
#define ZERO QCOW2BLK_EXTENT_ZERO

static struct walk {
  uint64_t next;
  int count;
  struct qcow2blk_extent extents[1000];
} walk;

/* Collects extents; neighbours that are alike become one. */
static int
collect (void *user_data, const struct qcow2blk_extent *extent)
{
  CHECK (user_data == &walk);
  CHECK_EQ (walk.next, extent->offset);
  CHECK (extent->length > 0);
  walk.next += extent->length;
  struct qcow2blk_extent *last = walk.count > 0 ? &walk.extents[walk.count - 1] : NULL;
  if (last != NULL && last->flags == extent->flags && last->depth == extent->depth)
    last->length += extent->length;
  else
    walk.extents[walk.count++] = *extent;
  return 0;
}

static void
collect_range (qcow2blk_image *image, uint64_t offset, uint64_t length)
{
  walk.next = offset;
  walk.count = 0;
  CHECK_EQ (0, qcow2blk_image_block_status (image, offset, length, collect, &walk, 0));
  CHECK_EQ (offset + length, walk.next);
}

static void
check_extent (int index, uint64_t offset, uint64_t length, uint32_t flags, uint32_t depth)
{
  CHECK (index < walk.count);
  CHECK_EQ (offset, walk.extents[index].offset);
  CHECK_EQ (length, walk.extents[index].length);
  CHECK_EQ (flags, walk.extents[index].flags);
  CHECK_EQ (depth, walk.extents[index].depth);
}

static int
stop (void *user_data, const struct qcow2blk_extent *extent)
{
  (void) extent;
  return ++*(int *) user_data == 2 ? -ENOLINK : 0;
}

int
main (void)
{
  qcow2blk_image *image = open_image (shared_image ("overlay.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  collect_range (image, 0, 16 * MiB);
  CHECK_EQ (5, walk.count);
  check_extent (0, 0, 512 * KiB, 0, 2);
  check_extent (1, 512 * KiB, 256 * KiB, 0, 1);
  check_extent (2, 768 * KiB, 64 * KiB, walk.extents[2].flags, 1);
  CHECK (walk.extents[2].flags & ZERO);
  check_extent (3, 832 * KiB, 192 * KiB, 0, 2);
  check_extent (4, MiB, 15 * MiB, HOLE | ZERO, 0);

  /* Cut to the range, in the middle of clusters. */
  collect_range (image, 512 * KiB - 1, 3);
  CHECK_EQ (2, walk.count);
  check_extent (0, 512 * KiB - 1, 1, 0, 2);
  check_extent (1, 512 * KiB, 2, 0, 1);

  int calls = 0;
  CHECK_EQ (-ENOLINK, qcow2blk_image_block_status (image, 0, 16 * MiB, stop, &calls, 0));
  CHECK_EQ (2, calls);
  CHECK_ERR (EINVAL, qcow2blk_image_block_status (image, 0, 16 * MiB + 1, stop, &calls, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_block_status (image, UINT64_MAX, 2, stop, &calls, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_block_status (image, 0, 1, NULL, &calls, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_block_status (image, 0, 1, stop, &calls, 1));
  CHECK_EQ (0, qcow2blk_image_block_status (image, 0, 0, stop, &calls, 0));
  CHECK_EQ (2, calls);
  CHECK_OK (qcow2blk_image_close (image, 0));

  image = open_image (shared_image ("compressed.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  collect_range (image, 0, 64 * MiB);
  CHECK_EQ (2, walk.count);
  check_extent (0, 0, 4 * MiB, 0, 1);
  check_extent (1, 4 * MiB, 60 * MiB, HOLE | ZERO, 0);
  CHECK_OK (qcow2blk_image_close (image, 0));

  /* What is written is there at once, without a flush. */
  image = open_copy ("empty.qcow2");
  CHECK_EQ (1, qcow2blk_image_pwrite (image, "x", 1, 200 * KiB, 0));
  collect_range (image, 0, MiB);
  CHECK_EQ (3, walk.count);
  check_extent (1, 192 * KiB, 64 * KiB, walk.extents[1].flags, 1);
  CHECK_OK (qcow2blk_image_close (image, 0));
  return 0;
}
