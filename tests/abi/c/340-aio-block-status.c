/* Block status in pieces says the same as in one walk. */
#include "aio.h"

struct walk {
  int count;
  struct qcow2blk_extent extents[100];
};

/* Neighbours that are alike become one, so that pieces of any size can be compared. */
static int
collect (void *user_data, const struct qcow2blk_extent *extent)
{
  struct walk *walk = user_data;
  struct qcow2blk_extent *last = walk->count > 0 ? &walk->extents[walk->count - 1] : NULL;
  if (last != NULL && last->flags == extent->flags && last->depth == extent->depth) {
    CHECK_EQ (last->offset + last->length, extent->offset);
    last->length += extent->length;
  } else {
    CHECK (walk->count < 100);
    walk->extents[walk->count++] = *extent;
  }
  return 0;
}

static void
collect_in_pieces (qcow2blk_image *image, qcow2blk_queue *queue, uint32_t max, struct walk *walk)
{
  struct qcow2blk_extent extents[8];
  struct qcow2blk_notify notify = to_queue (queue, walk);
  uint64_t at = 1000, end = 15 * MiB + 1;
  while (at < end) {
    memset (extents, 0xff, sizeof extents);
    CHECK_EQ (0, qcow2blk_image_aio_block_status (image, at, end - at, extents, max, &notify, 0));
    int64_t count = only_result (queue, walk);
    CHECK (count >= 1 && count <= max);
    for (int i = 0; i < count; i++) {
      CHECK_EQ (at, extents[i].offset);
      at += extents[i].length;
      collect (walk, &extents[i]);
    }
    for (unsigned i = (unsigned) count; i < 8; i++)
      CHECK (extents[i].length == UINT64_MAX);
  }
  CHECK_EQ (end, at);
}

int
main (void)
{
  qcow2blk_image *image = open_image (shared_image ("overlay.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  qcow2blk_queue *queue = make_queue (4);
  struct walk whole = { .count = 0 };
  CHECK_EQ (0, qcow2blk_image_block_status (image, 1000, 15 * MiB + 1 - 1000, collect, &whole, 0));
  CHECK_EQ (5, whole.count);
  for (uint32_t max = 1; max <= 8; max++) {
    struct walk pieces = { .count = 0 };
    collect_in_pieces (image, queue, max, &pieces);
    CHECK_EQ (whole.count, pieces.count);
    for (int i = 0; i < whole.count; i++) {
      CHECK_EQ (whole.extents[i].offset, pieces.extents[i].offset);
      CHECK_EQ (whole.extents[i].length, pieces.extents[i].length);
      CHECK_EQ (whole.extents[i].flags, pieces.extents[i].flags);
      CHECK_EQ (whole.extents[i].depth, pieces.extents[i].depth);
    }
  }

  struct qcow2blk_extent extent;
  struct qcow2blk_notify notify = to_queue (queue, NULL);
  CHECK_ERR (EINVAL, qcow2blk_image_aio_block_status (image, 0, 1, NULL, 1, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_block_status (image, 0, 1, &extent, 0, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_block_status (image, 0, 0, &extent, 1, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_block_status (image, 0, 16 * MiB + 1, &extent, 1, &notify, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_block_status (image, 0, 1, &extent, 1, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_aio_block_status (image, 0, 1, &extent, 1, &notify, 1));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return 0;
}
