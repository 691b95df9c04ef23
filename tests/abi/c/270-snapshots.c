/* Snapshots that are made, deleted and gone back to while the image is in use. */
#include "test.h"

static int
count_one (void *user_data, const struct qcow2blk_snapshot *snapshot)
{
  CHECK (snapshot->size >= sizeof *snapshot);
  (*(int *) user_data)++;
  return 0;
}

static int
snapshots_of (qcow2blk_image *image)
{
  int count = 0;
  CHECK_EQ (0, qcow2blk_image_list_snapshots (image, count_one, &count, 0));
  return count;
}

static void
fill (qcow2blk_image *image, int byte, uint64_t offset, size_t count)
{
  unsigned char *buffer = malloc (count);
  memset (buffer, byte, count);
  CHECK_EQ (count, qcow2blk_image_pwrite (image, buffer, count, offset, 0));
  free (buffer);
}

static void
check_life (uint32_t flags)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_image *image = open_image (path, flags);
  char id[QCOW2BLK_SNAPSHOT_ID_SIZE], two[2];
  fill (image, 0xa1, 0, 64 * KiB);
  CHECK_OK (qcow2blk_image_create_snapshot (image, "one", id, sizeof id, 0));
  CHECK_STR ("1", id);
  fill (image, 0xa2, 0, 64 * KiB);
  CHECK_OK (qcow2blk_image_create_snapshot (image, "two", two, sizeof two, 0));
  CHECK_STR ("2", two);
  fill (image, 0xa3, 0, 64 * KiB);
  fill (image, 0xa3, 32 * MiB, 64 * KiB);
  CHECK_EQ (2, snapshots_of (image));
  check_disk (image, 0xa3, 0, 64 * KiB);
  CHECK_OK (qcow2blk_image_flush (image, 0));
  CHECK_CONTAINS ("two", output_of ("qemu-img snapshot -U -l %s", path));

  CHECK_OK (qcow2blk_image_revert_snapshot (image, "one", 0));
  check_disk (image, 0xa1, 0, 64 * KiB);
  check_disk (image, 0, 32 * MiB, 64 * KiB);
  check_disk (image, 2, 64 * KiB, 64 * KiB);
  fill (image, 0xa4, 0, 4096);
  check_disk (image, 0xa4, 0, 4096);
  CHECK_OK (qcow2blk_image_delete_snapshot (image, "2", 0));
  CHECK_EQ (1, snapshots_of (image));
  CHECK_ERR (ENOENT, qcow2blk_image_delete_snapshot (image, "two", 0));
  CHECK_CONTAINS ("two", qcow2blk_last_error ());
  CHECK_ERR (ENOENT, qcow2blk_image_revert_snapshot (image, "two", 0));
  check_disk (image, 0xa4, 0, 4096);
  CHECK_ERR (EINVAL, qcow2blk_image_create_snapshot (image, NULL, NULL, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_create_snapshot (image, "three", NULL, 0, 1));
  CHECK_ERR (EINVAL, qcow2blk_image_delete_snapshot (image, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_revert_snapshot (NULL, "one", 0));
  CHECK_OK (qcow2blk_image_create_snapshot (image, "one", NULL, 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_image_delete_snapshot (image, "one", 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q %s", path);
  check_with_qemu (path, 0xa4, 0, 4096);
  run ("qemu-img snapshot -a 1 %s", path);
  check_with_qemu (path, 0xa1, 0, 64 * KiB);
}

/* The size goes back too, and what does not fit any more is refused. */
static void
check_size (void)
{
  const char *path = copy_of ("plain.qcow2");
  run ("qemu-img snapshot -c small %s && qemu-img resize -q %s 128M", path, path);
  qcow2blk_image *image = open_image (path, 0);
  fill (image, 0x77, 100 * MiB, 64 * KiB);
  CHECK_OK (qcow2blk_image_revert_snapshot (image, "small", 0));
  CHECK_EQ (64 * MiB, qcow2blk_image_size (image));
  char byte;
  CHECK_ERR (EINVAL, qcow2blk_image_pread (image, &byte, 1, 100 * MiB, 0));
  check_disk (image, 3, 2 * 64 * KiB, 64 * KiB);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q %s", path);
}

/* Files that were given as descriptors are used again, when those of the program are closed. */
static void
check_descriptor (void)
{
  const char *path = copy_of ("plain.qcow2");
  qcow2blk_options *options;
  qcow2blk_image *image;
  int file = open (path, O_RDWR);
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_add_fd (options, file, 0));
  CHECK_OK (qcow2blk_image_open (NULL, options, &image, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  close (file);
  CHECK_EQ (0, rename (path, in_folder ("elsewhere.qcow2")));
  CHECK_OK (qcow2blk_image_create_snapshot (image, "one", NULL, 0, 0));
  fill (image, 0x99, 0, 64 * KiB);
  CHECK_OK (qcow2blk_image_revert_snapshot (image, "one", 0));
  check_disk (image, 1, 0, 64 * KiB);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q %s", in_folder ("elsewhere.qcow2"));
}

/* If the file cannot be opened again, the handle says so and does no harm; the file is whole. */
static void
check_lost (void)
{
  const char *path = copy_of ("plain.qcow2"), *hidden = in_folder ("hidden.qcow2");
  qcow2blk_image *image = open_image (path, 0);
  char buffer[4096];
  CHECK_OK (qcow2blk_image_create_snapshot (image, "one", NULL, 0, 0));
  CHECK_EQ (0, rename (path, hidden));
  CHECK_ERR (ENOENT, qcow2blk_image_revert_snapshot (image, "one", 0));
  CHECK_ERR (EIO, qcow2blk_image_pread (image, buffer, sizeof buffer, 0, 0));
  CHECK_CONTAINS ("could not be opened again", qcow2blk_last_error ());
  CHECK_ERR (EIO, qcow2blk_image_pwrite (image, buffer, sizeof buffer, 0, 0));
  CHECK_ERR (EIO, qcow2blk_image_flush (image, 0));
  CHECK_ERR (EIO, qcow2blk_image_create_snapshot (image, "two", NULL, 0, 0));
  int count = 0;
  CHECK_ERR (EIO, qcow2blk_image_list_snapshots (image, count_one, &count, 0));
  char text[4096];
  CHECK (qcow2blk_image_info (image, text, sizeof text, 0) > 0);
  CHECK_CONTAINS ("could not be opened again", text);
  CHECK_EQ (64 * MiB, qcow2blk_image_size (image));
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q %s", hidden);
}

static void
check_refused (void)
{
  qcow2blk_image *image = open_image (shared_image ("plain.qcow2"), QCOW2BLK_OPEN_READ_ONLY);
  CHECK_ERR (EROFS, qcow2blk_image_create_snapshot (image, "one", NULL, 0, 0));
  CHECK_ERR (EROFS, qcow2blk_image_delete_snapshot (image, "one", 0));
  CHECK_ERR (EROFS, qcow2blk_image_revert_snapshot (image, "one", 0));
  CHECK_OK (qcow2blk_image_close (image, 0));

  qcow2blk_options *options;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "format", "raw", 0));
  CHECK_OK (qcow2blk_image_open (copy_of ("raw.img"), options, &image, 0));
  CHECK_ERR (EOPNOTSUPP, qcow2blk_image_create_snapshot (image, "one", NULL, 0, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
}

int
main (void)
{
  check_life (0);
  check_life (QCOW2BLK_OPEN_CALLER_LOOP);
  check_size ();
  check_descriptor ();
  check_lost ();
  check_refused ();
  return 0;
}
