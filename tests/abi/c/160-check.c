/* What a check finds and repairs, and that qemu-img finds the same. */
#include "test.h"

struct told {
  int leaks, errors, stops, progress;
  double last;
  int inside;
};

static void
hear (void *user_data, int kind, const char *message, double done)
{
  struct told *told = user_data;
  CHECK (message[0] != 0);
  switch (kind) {
  case QCOW2BLK_CHECK_LEAK: told->leaks++; break;
  case QCOW2BLK_CHECK_ERROR: told->errors++; break;
  case QCOW2BLK_CHECK_STOPPED: told->stops++; break;
  default:
    CHECK_EQ (QCOW2BLK_CHECK_PROGRESS, kind);
    CHECK (done >= 0 && done <= 1);
    told->progress++;
  }
  told->inside = qcow2blk_check (shared_image ("plain.qcow2"), NULL, NULL, NULL, 0);
}

/* One entry of the first refcount block: the cluster that nothing uses is counted, or one that is used is not. */
static void
set_refcount (const char *path, int cluster, int count)
{
  int file = open (path, O_RDWR);
  unsigned char raw[8], two[2] = { (unsigned char) (count >> 8), (unsigned char) count };
  uint64_t table = 0, block = 0;
  CHECK_EQ (8, pread (file, raw, 8, 48));
  for (int i = 0; i < 8; i++) table = table << 8 | raw[i];
  CHECK_EQ (8, pread (file, raw, 8, (off_t) table));
  for (int i = 0; i < 8; i++) block = block << 8 | raw[i];
  CHECK_EQ (2, pwrite (file, two, 2, (off_t) block + 2 * cluster));
  close (file);
}

static int
qemu_check (const char *path)
{
  return WEXITSTATUS (system (format ("qemu-img check -q -f qcow2 %s >/dev/null 2>&1", path)));
}

int
main (void)
{
  struct qcow2blk_check_result result = { .size = sizeof result };
  const char *path = copy_of ("plain.qcow2");
  CHECK_EQ (QCOW2BLK_CHECK_CLEAN, qcow2blk_check (path, &result, NULL, NULL, 0));
  CHECK_EQ (1024, result.total_clusters);
  CHECK_EQ (64, result.allocated_clusters);
  CHECK_EQ (0, result.leaks + result.corruptions + result.check_errors);
  CHECK_CONTAINS (format ("\"image-end-offset\": %lld", (long long) result.image_end_offset),
                  output_of ("qemu-img check --output=json %s", path));

  struct told told = { 0 };
  struct stat status;
  CHECK_EQ (0, stat (path, &status));
  int last = (int) ((status.st_size + 64 * KiB - 1) / (64 * KiB));
  CHECK_EQ (0, truncate (path, (off_t) (last + 1) * 64 * KiB));
  set_refcount (path, last, 1);
  CHECK_EQ (3, qemu_check (path));
  CHECK_EQ (QCOW2BLK_CHECK_LEAKING, qcow2blk_check (path, &result, hear, &told, 0));
  CHECK_EQ (1, result.leaks);
  CHECK_EQ (1, told.leaks);
  CHECK_EQ (0, told.errors + told.stops);
  CHECK_EQ (-EDEADLK, told.inside);
  CHECK_EQ (QCOW2BLK_CHECK_CLEAN, qcow2blk_check (path, &result, NULL, NULL, QCOW2BLK_CHECK_REPAIR_LEAKS));
  CHECK_EQ (1, result.leaks_fixed);
  CHECK_EQ (0, result.leaks);
  CHECK_EQ (0, qemu_check (path));

  memset (&told, 0, sizeof told);
  set_refcount (path, 10, 0);
  CHECK_EQ (2, qemu_check (path));
  CHECK_EQ (QCOW2BLK_CHECK_CORRUPT, qcow2blk_check (path, NULL, hear, &told, 0));
  CHECK (told.errors > 0);

  /* Without its references counted nobody knows what leaks: qemu-img stops there, too. */
  CHECK_EQ (QCOW2BLK_CHECK_INCOMPLETE, qcow2blk_check (path, &result, hear, &told, QCOW2BLK_CHECK_REPAIR_LEAKS));
  CHECK_EQ (1, told.stops);
  CHECK_EQ (0, result.corruptions_fixed);
  CHECK_EQ (QCOW2BLK_CHECK_CLEAN, qcow2blk_check (path, &result, NULL, NULL, QCOW2BLK_CHECK_REPAIR_ALL));
  CHECK (result.corruptions_fixed > 0);
  CHECK_EQ (0, qemu_check (path));

  /* What is in use is not looked at, unless that is asked for. */
  qcow2blk_image *image = open_image (path, 0);
  CHECK_ERR (EBUSY, qcow2blk_check (path, NULL, NULL, NULL, 0));
  CHECK_EQ (QCOW2BLK_CHECK_CLEAN, qcow2blk_check (path, NULL, NULL, NULL, QCOW2BLK_CHECK_IGNORE_LOCKS));
  CHECK_OK (qcow2blk_image_close (image, 0));

  result.size = 8;
  CHECK_ERR (EINVAL, qcow2blk_check (path, &result, NULL, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_check (NULL, NULL, NULL, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_check (path, NULL, NULL, NULL, 8));
  CHECK_ERR (EINVAL, qcow2blk_check (path, NULL, NULL, NULL, QCOW2BLK_CHECK_REPAIR_ALL | QCOW2BLK_CHECK_REPAIR_LEAKS));
  CHECK_ERR (EINVAL, qcow2blk_check (path, NULL, NULL, NULL, QCOW2BLK_CHECK_REPAIR_ALL | QCOW2BLK_CHECK_IGNORE_LOCKS));
  CHECK_ERR (ENOENT, qcow2blk_check (in_folder ("missing"), NULL, NULL, NULL, 0));
  CHECK_ERR (EOPNOTSUPP, qcow2blk_check (shared_image ("raw.img"), NULL, NULL, NULL, 0));
  return 0;
}
