/* New images, as qemu-img sees them; and the key of an encrypted one as bytes in memory. */
#include "test.h"

static qcow2blk_options *
new_options (void)
{
  qcow2blk_options *options;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  return options;
}

static void
set (qcow2blk_options *options, const char *name, const char *value)
{
  CHECK_OK (qcow2blk_options_set (options, name, value, 0));
}

static void
check_plain (void)
{
  const char *path = in_folder ("plain.qcow2");
  CHECK_OK (qcow2blk_create (path, 10 * MiB + 100, NULL, 0));
  CHECK_CONTAINS ("\"virtual-size\": 10486272", output_of ("qemu-img info --output=json %s", path));
  CHECK_ERR (EEXIST, qcow2blk_create (path, MiB, NULL, 0));
  CHECK_CONTAINS (path, qcow2blk_last_error ());
  CHECK_OK (qcow2blk_create (path, MiB, NULL, QCOW2BLK_CREATE_REPLACE));
  CHECK_CONTAINS ("\"virtual-size\": 1048576", output_of ("qemu-img info --output=json %s", path));
  qcow2blk_image *image = open_image (path, 0);
  CHECK_ERR (EBUSY, qcow2blk_create (path, MiB, NULL, QCOW2BLK_CREATE_REPLACE));
  CHECK_EQ (4096, qcow2blk_image_pwrite (image, format ("%4096d", 1), 4096, 0, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-img check -q %s", path);
}

static void
check_options (void)
{
  const char *path = in_folder ("options.qcow2");
  qcow2blk_options *options = new_options ();
  set (options, "cluster_size", "128K");
  set (options, "compat", "1.1");
  set (options, "extended_l2", "on");
  set (options, "refcount_bits", "64");
  set (options, "compression_type", "zstd");
  CHECK_ERR (EINVAL, qcow2blk_options_set (options, "cluster_size", "100K", 0));
  CHECK_OK (qcow2blk_create (path, 64 * MiB, options, 0));
  const char *info = output_of ("qemu-img info --output=json %s", path);
  CHECK_CONTAINS ("\"cluster-size\": 131072", info);
  CHECK_CONTAINS ("\"extended-l2\": true", info);
  CHECK_CONTAINS ("\"refcount-bits\": 64", info);
  CHECK_CONTAINS ("\"compression-type\": \"zstd\"", info);

  /* What is for a new image is not for one that is there. */
  qcow2blk_image *image;
  qcow2blk_device *device;
  CHECK_ERR (EINVAL, qcow2blk_image_open (path, options, &image, 0));
  CHECK_CONTAINS ("cluster_size", qcow2blk_last_error ());
  CHECK_ERR (EINVAL, qcow2blk_device_attach (path, options, &device, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));

  /* And the other way round. */
  options = new_options ();
  set (options, "cache-size", "2M");
  CHECK_ERR (EINVAL, qcow2blk_create (in_folder ("other.qcow2"), MiB, options, 0));
  CHECK_CONTAINS ("cache-size", qcow2blk_last_error ());
  CHECK_OK (qcow2blk_options_close (options, 0));
  CHECK (access (in_folder ("other.qcow2"), F_OK) != 0);
}

static void
check_overlay (void)
{
  const char *path = in_folder ("overlay.qcow2");
  copy_of ("base.qcow2");
  qcow2blk_options *options = new_options ();
  set (options, "backing_file", "base.qcow2");
  CHECK_ERR (EINVAL, qcow2blk_create (path, -1, options, 0));
  set (options, "backing_fmt", "qcow2");
  CHECK_OK (qcow2blk_create (path, -1, options, 0));
  const char *info = output_of ("qemu-img info --output=json %s", path);
  CHECK_CONTAINS ("\"backing-filename\": \"base.qcow2\"", info);
  CHECK_CONTAINS ("\"virtual-size\": 16777216", info);
  check_with_qemu (path, 0x11, 0, MiB);
  CHECK_OK (qcow2blk_options_close (options, 0));

  options = new_options ();
  set (options, "backing_file", "missing.qcow2");
  set (options, "backing_fmt", "qcow2");
  CHECK_ERR (ENOENT, qcow2blk_create (in_folder ("none.qcow2"), -1, options, 0));
  CHECK (access (in_folder ("none.qcow2"), F_OK) != 0);
  CHECK_OK (qcow2blk_options_close (options, 0));
}

static void
check_arguments (void)
{
  CHECK_ERR (EINVAL, qcow2blk_create (NULL, MiB, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_create (in_folder ("x"), -1, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_create (in_folder ("x"), -2, NULL, 0));
  CHECK_ERR (EINVAL, qcow2blk_create (in_folder ("x"), MiB, NULL, 2));
  CHECK_ERR (EINVAL, qcow2blk_create (in_folder ("x"), MiB, (qcow2blk_options *) 4711, 0));
  qcow2blk_options *options = new_options ();
  set (options, "size", "1M");
  CHECK_ERR (EINVAL, qcow2blk_create (in_folder ("x"), MiB, options, 0));
  CHECK_OK (qcow2blk_create (in_folder ("x"), -1, options, 0));
  CHECK_ERR (EINVAL, qcow2blk_options_set_key (options, NULL, 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_options_set_key (options, "k", 0, 0));
  CHECK_ERR (EINVAL, qcow2blk_options_set_key (options, "k", 1, 1));
  CHECK_ERR (EINVAL, qcow2blk_options_set_key (options, "k", (size_t) 1 << 40, 0));
  CHECK_ERR (EINVAL, qcow2blk_options_set_key (NULL, "k", 1, 0));

  /* A key, and nothing to encrypt. */
  CHECK_OK (qcow2blk_options_set_key (options, "k", 1, 0));
  CHECK_ERR (EINVAL, qcow2blk_create (in_folder ("y"), -1, options, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));
  CHECK_ERR (EINVAL, qcow2blk_options_set_key (options, "k", 1, 0));
}

static void
check_encrypted (void)
{
  const char *path = in_folder ("luks.qcow2");
  char key[] = "open sesame";
  qcow2blk_options *options = new_options ();
  set (options, "encrypt.format", "luks");
  set (options, "encrypt.iter-time", "10");
  CHECK_ERR (EINVAL, qcow2blk_create (path, 4 * MiB, options, 0));
  CHECK_OK (qcow2blk_options_set_key (options, "another", 7, 0));
  CHECK_OK (qcow2blk_options_set_key (options, key, sizeof key - 1, 0));
  memset (key, 0, sizeof key);
  CHECK_OK (qcow2blk_create (path, 4 * MiB, options, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));

  qcow2blk_image *image;
  static unsigned char buffer[64 * KiB];
  CHECK_ERR (ENOENT, qcow2blk_image_open (path, NULL, &image, 0));
  options = new_options ();
  CHECK_OK (qcow2blk_options_set_key (options, "wrong", 5, 0));
  CHECK (qcow2blk_image_open (path, options, &image, 0) < 0);
  CHECK (strstr (qcow2blk_last_error (), "wrong") == NULL);
  CHECK_OK (qcow2blk_options_set_key (options, "open sesame", 11, 0));
  CHECK_OK (qcow2blk_image_open (path, options, &image, 0));

  /* The image has a key of its own, also to be opened again. */
  CHECK_OK (qcow2blk_options_close (options, 0));
  memset (buffer, 0x5c, sizeof buffer);
  CHECK_EQ (sizeof buffer, qcow2blk_image_pwrite (image, buffer, sizeof buffer, MiB, 0));
  CHECK_OK (qcow2blk_image_create_snapshot (image, "one", NULL, 0, 0));
  memset (buffer, 0x5d, sizeof buffer);
  CHECK_EQ (sizeof buffer, qcow2blk_image_pwrite (image, buffer, sizeof buffer, MiB, 0));
  CHECK_OK (qcow2blk_image_revert_snapshot (image, "one", 0));
  check_disk (image, 0x5c, MiB, sizeof buffer);
  CHECK_OK (qcow2blk_image_close (image, 0));
  run ("qemu-io -r --object secret,id=k,data='open sesame' --image-opts driver=qcow2,file.filename=%s,encrypt.key-secret=k"
       " -c 'read -P 0x5c 1M 64k' | (! grep -iE 'fail|error' >&2)", path);
}

/* Whether a library that encrypts is loaded. */
static int
has_libcrypto (void)
{
  return system (format ("grep -q libcrypto /proc/%d/maps", (int) getpid ())) == 0;
}

int
main (void)
{
  check_plain ();
  check_options ();
  check_overlay ();
  check_arguments ();
  CHECK (!has_libcrypto ());
  check_encrypted ();
  CHECK (has_libcrypto ());
  return 0;
}
