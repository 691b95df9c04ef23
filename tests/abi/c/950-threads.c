/* Eight threads with mixed requests, synchronous and asynchronous, on one image: each finds what a model says. */
#include "aio.h"

#define THREADS 8
#define BLOCKS 512            /* of each thread */
#define BLOCK (12 * KiB)      /* so that clusters are shared by threads: they own blocks, not clusters */
#define ROUNDS 1500
#define DEPTH 16

static qcow2blk_image *image;

struct request {
  int block, is_write, in_flight;
  unsigned char value;
  unsigned char buffer[BLOCK];
};

struct owner {
  pthread_t thread;
  int index;
  unsigned seed;
  unsigned char model[BLOCKS]; /* the byte that fills each block */
  char busy[BLOCKS];           /* a request is on its way there */
  qcow2blk_queue *queue;
  struct request requests[DEPTH];
};

/* Blocks of different threads lie next to each other. */
static uint64_t
offset_of (struct owner *owner, int block)
{
  return ((uint64_t) block * THREADS + (uint64_t) owner->index) * BLOCK;
}

static void
finish (struct owner *owner, int64_t timeout)
{
  struct qcow2blk_completion done[DEPTH];
  int count = qcow2blk_queue_wait (owner->queue, done, DEPTH, (int) timeout, 0);
  CHECK_OK (count);
  if (timeout != 0)
    CHECK (count > 0);
  for (int i = 0; i < count; i++) {
    struct request *request = done[i].user_data;
    CHECK_EQ (BLOCK, done[i].result);
    CHECK (request->in_flight);
    if (request->is_write)
      owner->model[request->block] = request->value;
    else
      CHECK_BYTES (owner->model[request->block], request->buffer, BLOCK);
    owner->busy[request->block] = 0;
    request->in_flight = 0;
  }
}

static void
begin (struct owner *owner, int block, int is_write, unsigned char value)
{
  struct request *request = owner->requests;
  for (int i = 0; request->in_flight; i++, request++)
    if (i == DEPTH - 1) {
      finish (owner, 60000);
      request = owner->requests - 1;
      i = -1;
    }
  *request = (struct request) { .block = block, .is_write = is_write, .in_flight = 1, .value = value };
  memset (request->buffer, is_write ? value : ~value, BLOCK);
  owner->busy[block] = 1;
  struct qcow2blk_notify notify = to_queue (owner->queue, request);
  uint64_t offset = offset_of (owner, block);
  CHECK_OK (is_write ? qcow2blk_image_aio_pwrite (image, request->buffer, BLOCK, offset, &notify, 0)
                     : qcow2blk_image_aio_pread (image, request->buffer, BLOCK, offset, &notify, 0));
}

static void
check_block (struct owner *owner, int block)
{
  unsigned char buffer[BLOCK];
  CHECK_EQ (BLOCK, qcow2blk_image_pread (image, buffer, BLOCK, offset_of (owner, block), 0));
  CHECK_BYTES (owner->model[block], buffer, BLOCK);
}

static void *
work (void *user_data)
{
  struct owner *owner = user_data;
  unsigned char buffer[BLOCK];
  for (int round = 0; round < ROUNDS; round++) {
    int block = (int) (rand_r (&owner->seed) % BLOCKS), action = (int) (rand_r (&owner->seed) % 100);
    unsigned char value = (unsigned char) (1 + rand_r (&owner->seed) % 255);
    if (owner->busy[block])
      continue;
    if (action < 30)
      begin (owner, block, 1, value);
    else if (action < 60)
      begin (owner, block, 0, owner->model[block]);
    else if (action < 75) {
      memset (buffer, value, BLOCK);
      CHECK_EQ (BLOCK, qcow2blk_image_pwrite (image, buffer, BLOCK, offset_of (owner, block), action == 74 ? QCOW2BLK_FUA : 0));
      owner->model[block] = value;
    } else if (action < 90)
      check_block (owner, block);
    else if (action < 97) {
      CHECK_OK (qcow2blk_image_write_zeroes (image, offset_of (owner, block), BLOCK, action < 92 ? QCOW2BLK_NO_HOLE : 0));
      owner->model[block] = 0;
    } else if (action < 98)
      CHECK_OK (qcow2blk_image_flush (image, 0));
    finish (owner, 0);
  }
  for (int i = 0; i < DEPTH; i++)
    while (owner->requests[i].in_flight)
      finish (owner, 60000);
  for (int block = 0; block < BLOCKS; block++)
    check_block (owner, block);
  return NULL;
}

static void
run_on (const char *path, unsigned seed)
{
  static struct owner owners[THREADS];
  memset (owners, 0, sizeof owners);
  image = open_image (path, 0);
  for (int i = 0; i < THREADS; i++) {
    owners[i].index = i;
    owners[i].seed = seed * THREADS + (unsigned) i;
    owners[i].queue = make_queue (DEPTH);
    CHECK_EQ (0, pthread_create (&owners[i].thread, NULL, work, &owners[i]));
  }
  for (int i = 0; i < THREADS; i++) {
    CHECK_EQ (0, pthread_join (owners[i].thread, NULL));
    CHECK_OK (qcow2blk_queue_close (owners[i].queue, 0));
  }
  CHECK_OK (qcow2blk_image_close (image, 0));

  /* The file itself holds it, too. */
  run ("qemu-img check -q -f qcow2 %s >&2", path);
  image = open_image (path, QCOW2BLK_OPEN_READ_ONLY);
  for (int i = 0; i < THREADS; i++)
    for (int block = 0; block < BLOCKS; block++)
      check_block (&owners[i], block);
  CHECK_OK (qcow2blk_image_close (image, 0));
}

int
main (void)
{
  const char *given = getenv ("QCOW2BLK_ABI_SEED");
  unsigned seed = given != NULL ? (unsigned) atoi (given) : (unsigned) time (NULL) % 100000;
  printf ("QCOW2BLK_ABI_SEED=%u\n", seed);
  fflush (stdout);
  run_on (copy_of ("empty.qcow2"), seed);

  /* On a file in memory, where direct reads are many times as fast as on a disk. */
  const char *path = format ("/dev/shm/qcow2blk-950-%d.qcow2", getpid ());
  copy_file (shared_image ("empty.qcow2"), path);
  run_on (path, seed + 1);
  CHECK_EQ (0, unlink (path));
  return 0;
}
