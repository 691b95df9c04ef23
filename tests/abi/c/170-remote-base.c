/* A base in the export of an NBD server: read, kept in the cache, and what becomes of requests when the server is gone. With a loop
 * of the library's own and with one of the caller. */
#include "aio.h"

#include <signal.h>

/* Not what a source may take, but what a request of this test waits. */
#define TIMEOUT "2"

#define DISK (48 * MiB)
#define PIECE (256 * KiB)

static unsigned char *expected; /* the whole disk, as qemu reads it */
static qcow2blk_image *image;
static pid_t server;

static const char *
url (void)
{
  return format ("nbd+unix:///?socket=%s", in_folder ("store.sock"));
}

/* The export is the file, so that the base is qcow2 in it. */
static void
start_server (void)
{
  unlink (in_folder ("store.sock"));
  run ("qemu-nbd --fork --read-only -t -e 8 -f raw -k %s --pid-file %s %s", in_folder ("store.sock"), in_folder ("store.pid"),
       in_folder ("store.qcow2"));
  server = (pid_t) atol (output_of ("cat %s", in_folder ("store.pid")));
  CHECK (server > 1);
}

static void
kill_server (void)
{
  CHECK_EQ (0, kill (server, SIGKILL));
  server = 0;
}

static void
end_server (void)
{
  if (server > 1)
    kill (server, SIGKILL);
}

static void
make_disk (void)
{
  run ("head -c %d /dev/urandom >%s", DISK, in_folder ("content"));
  run ("qemu-img convert -f raw -O qcow2 %s %s", in_folder ("content"), in_folder ("store.qcow2"));
  run ("qemu-img create -q -f qcow2 -u -b '%s' -F qcow2 %s %d", url (), in_folder ("overlay.qcow2"), DISK);
  start_server ();
  run ("qemu-io -f qcow2 -c 'write -P 0x22 3M 100k' %s >&2", in_folder ("overlay.qcow2"));
  run ("qemu-img convert -f qcow2 -O raw %s %s", in_folder ("overlay.qcow2"), in_folder ("expected"));
  expected = malloc (DISK);
  int file = open (in_folder ("expected"), O_RDONLY);
  for (size_t done = 0; done < DISK;) {
    ssize_t count = read (file, expected + done, DISK - done);
    CHECK (count > 0);
    done += (size_t) count;
  }
  close (file);
  CHECK_BYTES (0x22, expected + 3 * MiB, 100 * KiB);
}

/* A cache for each: one that was used before would answer for the source. */
static qcow2blk_options *
make_options (const char *cache)
{
  qcow2blk_options *options;
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "base", url (), 0));
  CHECK_OK (qcow2blk_options_set (options, "cache-dir", in_folder (cache), 0));
  CHECK_OK (qcow2blk_options_set (options, "source-timeout", TIMEOUT, 0));
  CHECK_OK (qcow2blk_options_set (options, "unverified", "true", 0));
  return options;
}

static void
open_overlay (const char *cache, uint32_t flags)
{
  qcow2blk_options *options = make_options (cache);
  CHECK_OK (qcow2blk_image_open (in_folder ("overlay.qcow2"), options, &image, flags));
  CHECK_OK (qcow2blk_options_close (options, 0));
}

static void
check_expected (const void *buffer, uint64_t offset, size_t count)
{
  if (memcmp (buffer, expected + offset, count) != 0)
    FAIL ("%zu bytes at %llu are not those of the base", count, (unsigned long long) offset);
}

static void
read_and_check (uint64_t offset, size_t count)
{
  unsigned char *buffer = malloc (count);
  memset (buffer, 0xee, count);

  /* While the server is there, a machine that is busy may still be too slow for the timeout. */
  ssize_t got = -EIO;
  for (int i = 0; i < (server > 1 ? 10 : 1) && got == -EIO; i++)
    got = qcow2blk_image_pread (image, buffer, count, offset, 0);
  CHECK_EQ (count, got);
  check_expected (buffer, offset, count);
  free (buffer);
}

static void
check_time (long long start)
{
  long long waited = now_ms () - start;
  if (waited < 1500 || waited > 20000) FAIL ("a request failed after %lld ms, and " TIMEOUT " s is the timeout", waited);
}

static void
with_own_loop (void)
{
  static unsigned char buffer[4096];
  open_overlay ("cache", 0);
  read_and_check (3 * MiB - 1000, PIECE);
  read_and_check (0, PIECE);

  /* The bytes of writes are in the overlay, those around them come from the base. */
  memset (buffer, 0x33, sizeof buffer);
  CHECK_EQ (1000, qcow2blk_image_pwrite (image, buffer, 1000, 5 * MiB + 17, 0));
  memset (expected + 5 * MiB + 17, 0x33, 1000);
  read_and_check (5 * MiB, 64 * KiB);
  CHECK (count_entries (in_folder ("cache")) > 0);

  kill_server ();
  read_and_check (3 * MiB - 1000, PIECE);
  read_and_check (5 * MiB, 64 * KiB);
  read_and_check (1, 4000);
  long long start = now_ms ();
  CHECK_ERR (EIO, qcow2blk_image_pread (image, buffer, sizeof buffer, 40 * MiB, 0));
  check_time (start);

  /* Nothing is written to the base: a whole cluster needs none of it, a part of one does. */
  unsigned char *cluster = calloc (1, 64 * KiB);
  CHECK_EQ (64 * KiB, qcow2blk_image_pwrite (image, cluster, 64 * KiB, 41 * MiB, 0));
  memset (expected + 41 * MiB, 0, 64 * KiB);
  read_and_check (41 * MiB, 64 * KiB);
  free (cluster);
  CHECK_ERR (EIO, qcow2blk_image_pwrite (image, buffer, 100, 42 * MiB, 0));

  /* It goes on by itself when the server is back. */
  start_server ();
  for (int i = 0; qcow2blk_image_pread (image, buffer, sizeof buffer, 40 * MiB, 0) != sizeof buffer; i++)
    if (i == 20) FAIL ("the server is back, and is not read from: %s", qcow2blk_last_error ());
  read_and_check (40 * MiB, PIECE);
  read_and_check (0, DISK);
  CHECK_OK (qcow2blk_image_close (image, 0));
}

static void
on_end (void *user_data, int64_t result)
{
  *(int64_t *) user_data = result;
}

/* Drives the image as an event loop does, until the request has ended. */
static int64_t
read_in_loop (void *buffer, size_t count, uint64_t offset)
{
  int64_t result = INT64_MIN;
  struct qcow2blk_notify notify = to_callback (on_end, &result);
  struct pollfd poller = { qcow2blk_image_fd (image), POLLIN, 0 };
  CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffer, count, offset, &notify, 0));
  while (result == INT64_MIN) {
    int done = qcow2blk_image_process (image, 0);
    CHECK_OK (done);
    if (done == 0 && result == INT64_MIN)
      CHECK_EQ (1, poll (&poller, 1, 30000));
  }
  return result;
}

static void
with_loop_of_the_caller (void)
{
  unsigned char *buffer = malloc (PIECE);
  open_overlay ("other-cache", QCOW2BLK_OPEN_CALLER_LOOP);
  read_and_check (20 * MiB + 3, PIECE);
  read_and_check (5 * MiB, PIECE);
  CHECK_EQ (PIECE, read_in_loop (buffer, PIECE, 20 * MiB + 3));
  check_expected (buffer, 20 * MiB + 3, PIECE);

  kill_server ();
  memset (buffer, 0xee, PIECE);
  CHECK_EQ (PIECE, read_in_loop (buffer, PIECE, 20 * MiB + 3));
  check_expected (buffer, 20 * MiB + 3, PIECE);
  long long start = now_ms ();
  CHECK_EQ (-EIO, read_in_loop (buffer, 100, 33 * MiB));
  check_time (start);
  start = now_ms ();
  CHECK_ERR (EIO, qcow2blk_image_pread (image, buffer, 100, 34 * MiB, 0));
  check_time (start);

  /* A request that waits for the source does not keep a close waiting for it. */
  int64_t result = INT64_MIN;
  struct qcow2blk_notify notify = to_callback (on_end, &result);
  CHECK_EQ (0, qcow2blk_image_aio_pread (image, buffer, 100, 35 * MiB, &notify, 0));
  CHECK_OK (qcow2blk_image_process (image, 0));
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK (result == -EIO || result == -ECANCELED || result == -ESHUTDOWN);
  free (buffer);
}

/* A server that is away, a base that nothing tells from another, a cache that cannot be: none is a crash, and all have a text. */
static void
refused (void)
{
  qcow2blk_options *options = make_options ("no-cache-yet");
  image = (qcow2blk_image *) &image;
  CHECK_ERR (EIO, qcow2blk_image_open (in_folder ("overlay.qcow2"), options, &image, 0));
  CHECK (image == NULL);
  CHECK_CONTAINS ("nbd+unix://", qcow2blk_last_error ());
  CHECK_OK (qcow2blk_options_close (options, 0));
  start_server ();
  CHECK_OK (qcow2blk_options_create (&options, 0));
  CHECK_OK (qcow2blk_options_set (options, "base", url (), 0));
  CHECK_OK (qcow2blk_options_set (options, "cache-dir", "none", 0));
  CHECK_ERR (EIO, qcow2blk_image_open (in_folder ("overlay.qcow2"), options, &image, 0));
  CHECK_CONTAINS ("unverified", qcow2blk_last_error ());
  CHECK_OK (qcow2blk_options_set (options, "unverified", "true", 0));
  CHECK_OK (qcow2blk_image_open (in_folder ("overlay.qcow2"), options, &image, QCOW2BLK_OPEN_READ_ONLY));
  read_and_check (30 * MiB, PIECE);
  CHECK_OK (qcow2blk_image_close (image, 0));
  CHECK_OK (qcow2blk_options_close (options, 0));

  /* The name in the image is not followed unless that is allowed. */
  CHECK (qcow2blk_image_open (in_folder ("overlay.qcow2"), NULL, &image, QCOW2BLK_OPEN_READ_ONLY) < 0);
}

/* A base that is known by its hash, and that the command has fetched: nothing of its source is needed. */
static void
without_a_source (void)
{
  const char *manifest = in_folder ("manifest");
  run ("qcow2blk manifest %s -o %s >&2", in_folder ("store.qcow2"), manifest);
  const char *root = format ("%.64s", output_of ("sha256sum %s", manifest));
  run ("qcow2blk cache prefetch '%s' --sha256 %s --manifest %s --cache-dir %s --cache-limit 1G >&2", url (), root, manifest,
       in_folder ("pinned"));
  kill_server ();
  qcow2blk_options *options = make_options ("pinned");
  CHECK_OK (qcow2blk_options_set (options, "manifest", manifest, 0));
  CHECK_OK (qcow2blk_options_set (options, "sha256", root, 0));
  CHECK_OK (qcow2blk_image_open (in_folder ("overlay.qcow2"), options, &image, QCOW2BLK_OPEN_READ_ONLY));
  CHECK_OK (qcow2blk_options_close (options, 0));
  read_and_check (0, DISK);
  CHECK_OK (qcow2blk_image_close (image, 0));
}

int
main (void)
{
  atexit (end_server);
  make_disk ();
  with_own_loop ();
  with_loop_of_the_caller ();
  refused ();
  without_a_source ();
  free (expected);
  return 0;
}
