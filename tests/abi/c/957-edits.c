/* Threads and a queue read and write, and verify it, while snapshots and bitmaps are made. Each snapshot has every write that had
 * ended before, and none that began after it; a bitmap has every write that came between its beginning and its end; and what
 * threads do goes on right through it all, also when the disk goes back to a snapshot. */
#include "aio.h"

#define THREADS 3
#define BLOCK 4096
#define BLOCKS 1024 /* of a thread */
#define ALL (BLOCKS * (THREADS + 1))
#define IN_QUEUE 8
#define ROUNDS 12

static qcow2blk_image *image;
static uint64_t begun[ALL], acked[ALL];
static int over, wild;

static uint64_t
get (uint64_t *of)
{
  return __atomic_load_n (of, __ATOMIC_SEQ_CST);
}

static void
put (uint64_t *of, uint64_t value)
{
  __atomic_store_n (of, value, __ATOMIC_SEQ_CST);
}

static void
stamp (uint64_t *words, int block, uint64_t number)
{
  for (int i = 0; i < BLOCK / 8; i += 2) {
    words[i] = number;
    words[i + 1] = (uint64_t) block;
  }
}

static void
check_block (const uint64_t *words, int block, uint64_t least, uint64_t most)
{
  for (int i = 0; i < BLOCK / 8; i += 2)
    if (words[i] != words[0] || words[i] < least || words[i] > most || (words[i] != 0 && words[i + 1] != (uint64_t) block))
      FAIL ("block %d, word %d: %llu of %llu, expected %llu to %llu", block, i, (unsigned long long) words[i],
            (unsigned long long) words[i + 1], (unsigned long long) least, (unsigned long long) most);
}

static void *
work (void *number)
{
  int first = (int) (intptr_t) number * BLOCKS;
  unsigned seed = (unsigned) first;
  uint64_t words[BLOCK / 8];
  while (!__atomic_load_n (&over, __ATOMIC_SEQ_CST)) {
    int block = first + rand_r (&seed) % BLOCKS;
    uint64_t offset = (uint64_t) block * BLOCK;
    if (rand_r (&seed) % 2 == 0) {
      CHECK_EQ (BLOCK, qcow2blk_image_pread (image, words, BLOCK, offset, 0));
      if (!__atomic_load_n (&wild, __ATOMIC_SEQ_CST))
        check_block (words, block, acked[block], acked[block]);
    } else {
      uint64_t next = begun[block] + 1;
      stamp (words, block, next);
      put (&begun[block], next);
      CHECK_EQ (BLOCK, qcow2blk_image_pwrite (image, words, BLOCK, offset, rand_r (&seed) % 64 == 0 ? QCOW2BLK_FUA : 0));
      put (&acked[block], next);
    }
  }
  return NULL;
}

/* The last of them has a queue, and several writes in it. */
static void *
work_in_queue (void *nothing)
{
  (void) nothing;
  static uint64_t words[IN_QUEUE][BLOCK / 8];
  qcow2blk_queue *queue = make_queue (IN_QUEUE);
  int first = THREADS * BLOCKS, in_flight = 0, at = 0, blocks[IN_QUEUE], free_places[IN_QUEUE];
  for (int i = 0; i < IN_QUEUE; i++)
    free_places[i] = i;
  while (in_flight > 0 || !__atomic_load_n (&over, __ATOMIC_SEQ_CST)) {
    while (in_flight < IN_QUEUE && !__atomic_load_n (&over, __ATOMIC_SEQ_CST)) {
      int place = free_places[IN_QUEUE - 1 - in_flight];
      /* One after the other, so that no two in flight are of the same block. */
      int block = first + at++ * 7 % BLOCKS;
      struct qcow2blk_notify notify = to_queue (queue, (void *) (intptr_t) (place + 1));
      uint64_t next = begun[block] + 1;
      stamp (words[place], block, next);
      put (&begun[block], next);
      blocks[place] = block;
      CHECK_OK (qcow2blk_image_aio_pwrite (image, words[place], BLOCK, (uint64_t) block * BLOCK, &notify, 0));
      in_flight++;
    }
    struct qcow2blk_completion completion = next_completion (queue);
    CHECK_EQ (BLOCK, completion.result);
    int place = (int) (intptr_t) completion.user_data - 1;
    put (&acked[blocks[place]], begun[blocks[place]]);
    in_flight--;
    free_places[IN_QUEUE - 1 - in_flight] = place;
  }
  CHECK_OK (qcow2blk_queue_close (queue, 0));
  return NULL;
}

static void
take (uint64_t *copy, uint64_t *of)
{
  for (int i = 0; i < ALL; i++)
    copy[i] = get (&of[i]);
}

static int
mark_dirty (void *user_data, const struct qcow2blk_extent *extent)
{
  if (extent->flags == QCOW2BLK_EXTENT_DIRTY)
    for (uint64_t at = extent->offset; at < extent->offset + extent->length && at / BLOCK < ALL; at += BLOCK)
      ((char *) user_data)[at / BLOCK] = 1;
  return 0;
}

static uint64_t least[ROUNDS][ALL], most[ROUNDS][ALL];
static char ids[ROUNDS][QCOW2BLK_SNAPSHOT_ID_SIZE];

static void
make_snapshot (int number)
{
  take (least[number], acked);
  CHECK_OK (qcow2blk_image_create_snapshot (image, "round", ids[number], sizeof ids[number], 0));
  take (most[number], begun);
}

static int
check_bitmap (const char *name)
{
  static uint64_t before[ALL], after[ALL];
  static char dirty[ALL];
  int certain = 0;
  CHECK_OK (qcow2blk_image_add_bitmap (image, name, BLOCK, 0));
  take (before, begun);
  sleep_ms (30);
  take (after, acked);
  CHECK_OK (qcow2blk_image_disable_bitmap (image, name, 0));
  memset (dirty, 0, sizeof dirty);
  CHECK_OK (qcow2blk_image_bitmap_status (image, name, 0, (uint64_t) qcow2blk_image_size (image), mark_dirty, dirty, 0));
  for (int i = 0; i < ALL; i++)
    if (after[i] > before[i]) {
      certain++;
      CHECK (dirty[i]);
    }
  CHECK_OK (qcow2blk_image_remove_bitmap (image, name, 0));
  return certain;
}

static void
check_snapshot (const char *path, int number)
{
  uint64_t words[BLOCK / 8];
  qcow2blk_options *options;
  qcow2blk_image *old;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "snapshot", ids[number], 0));
  CHECK_OK (qcow2blk_image_open (path, options, &old, QCOW2BLK_OPEN_READ_ONLY));
  for (int block = 0; block < ALL; block++) {
    CHECK_EQ (BLOCK, qcow2blk_image_pread (old, words, BLOCK, (uint64_t) block * BLOCK, 0));
    check_block (words, block, least[number][block], most[number][block]);
  }
  CHECK_OK (qcow2blk_image_close (old, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
}

static void
run_rounds (const char *path, const char *cache, const char *cluster_size)
{
  pthread_t threads[THREADS + 1];
  qcow2blk_options *options;
  int certain = 0;
  memset (begun, 0, sizeof begun);
  memset (acked, 0, sizeof acked);
  over = wild = 0;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "cluster_size", cluster_size, 0));
  CHECK_OK (qcow2blk_create (path, 24 * MiB, options, QCOW2BLK_CREATE_REPLACE));
  CHECK_OK (qcow2blk_options_close (options, 0));
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "cache", cache, 0));
  CHECK_OK (qcow2blk_image_open (path, options, &image, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  for (int i = 0; i < THREADS; i++)
    CHECK_EQ (0, pthread_create (&threads[i], NULL, work, (void *) (intptr_t) i));
  CHECK_EQ (0, pthread_create (&threads[THREADS], NULL, work_in_queue, NULL));
  for (int i = 0; i < ROUNDS; i++) {
    sleep_ms (20);
    make_snapshot (i);
    certain += check_bitmap (format ("b%d", i));
    CHECK_OK (qcow2blk_image_resize (image, (uint64_t) (24 + i % 4) * MiB, QCOW2BLK_ALLOW_SHRINK));
    if (i % 3 == 2)
      CHECK_OK (qcow2blk_image_delete_snapshot (image, ids[i - 1], 0));
  }
  CHECK (certain > 100);

  /* Nobody can say any more what a block holds, but it goes on. */
  __atomic_store_n (&wild, 1, __ATOMIC_SEQ_CST);
  sleep_ms (20);
  for (int i = 0; i < 4; i++) {
    CHECK_OK (qcow2blk_image_revert_snapshot (image, ids[i % 2 * 3], 0));
    sleep_ms (20);
  }
  __atomic_store_n (&over, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i <= THREADS; i++)
    pthread_join (threads[i], NULL);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q %s", path);
  CHECK_EQ (QCOW2BLK_CHECK_CLEAN, qcow2blk_check (path, NULL, NULL, NULL, 0));
  for (int i = 0; i < ROUNDS; i++)
    if (i % 3 != 1)
      check_snapshot (path, i);
}

int
main (void)
{
  run_rounds (in_folder ("a.qcow2"), "writeback", "64K");
  run_rounds (in_folder ("b.qcow2"), "none", "4K");
  return 0;
}
