/* What the tests of the C library share. A test is a program: it ends with 0, or says what is wrong and ends with 1;
 * it ends with 77, and says why, where the machine cannot do what it needs. */
#ifndef TEST_H
#define TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <qcow2blk.h>

/* A program that opens the library by dlopen says something else here. */
#ifndef LAST_ERROR
#define LAST_ERROR() qcow2blk_last_error ()
#endif

#define KiB 1024
#define MiB (1024 * 1024)

#define FAIL(...) (fprintf (stderr, "%s:%d: ", __FILE__, __LINE__), fprintf (stderr, __VA_ARGS__), fputc ('\n', stderr), exit (1))

#define CHECK(condition) \
  do { if (!(condition)) FAIL ("not true: %s", #condition); } while (0)

#define CHECK_EQ(expected, got) \
  do { \
    long long expected_ = (long long) (expected), got_ = (long long) (got); \
    if (expected_ != got_) \
      FAIL ("%s: expected %lld, got %lld (last error: %s)", #got, expected_, got_, LAST_ERROR ()); \
  } while (0)

/* A call that has to succeed. */
#define CHECK_OK(call) \
  do { \
    long long got_ = (long long) (call); \
    if (got_ < 0) \
      FAIL ("%s: expected success, got %lld (%s: %s)", #call, got_, strerror ((int) -got_), LAST_ERROR ()); \
  } while (0)

/* A call that has to fail, with the errno that is also told by qcow2blk_last_errno(). */
#define CHECK_ERR(error, call) \
  do { \
    long long got_ = (long long) (call); \
    if (got_ != -(long long) (error)) \
      FAIL ("%s: expected -%s (-%d), got %lld (last error: %s)", #call, #error, (int) (error), got_, LAST_ERROR ()); \
    if (qcow2blk_last_errno () != (error)) \
      FAIL ("%s: qcow2blk_last_errno: expected %s, got %d", #call, #error, qcow2blk_last_errno ()); \
  } while (0)

#define CHECK_STR(expected, got) \
  do { \
    const char *expected_ = (expected), *got_ = (got); \
    if (strcmp (expected_, got_) != 0) FAIL ("%s: expected \"%s\", got \"%s\"", #got, expected_, got_); \
  } while (0)

#define CHECK_CONTAINS(part, text) \
  do { \
    const char *part_ = (part), *text_ = (text); \
    if (strstr (text_, part_) == NULL) FAIL ("%s: expected something with \"%s\", got \"%s\"", #text, part_, text_); \
  } while (0)

/* All of count bytes are byte. */
#define CHECK_BYTES(byte, buffer, count) check_bytes (__FILE__, __LINE__, byte, buffer, count)

static inline void
check_bytes (const char *file, int line, int byte, const void *buffer, size_t count)
{
  const unsigned char *bytes = buffer;
  for (size_t i = 0; i < count; i++)
    if (bytes[i] != (unsigned char) byte) {
      fprintf (stderr, "%s:%d: byte %zu of %zu: expected 0x%02x, got 0x%02x\n", file, line, i, count, byte & 255, bytes[i]);
      exit (1);
    }
}

static inline void
skip (const char *why)
{
  printf ("skipped: %s\n", why);
  exit (77);
}

/* ---------------------------------------------------------------- files */

static char test_folder_path[64];
static pid_t test_folder_owner;

static inline int
remove_one (const char *path, const struct stat *status, int type, struct FTW *ftw)
{
  (void) status, (void) type, (void) ftw;
  return remove (path);
}

static inline void
remove_test_folder (void)
{
  if (getpid () == test_folder_owner)
    nftw (test_folder_path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* A folder of this test, removed when it ends. */
static inline const char *
test_folder (void)
{
  if (test_folder_path[0] == 0) {
    strcpy (test_folder_path, "/tmp/qcow2blk-abi-XXXXXX");
    if (mkdtemp (test_folder_path) == NULL) FAIL ("mkdtemp: %s", strerror (errno));
    test_folder_owner = getpid ();
    atexit (remove_test_folder);
  }
  return test_folder_path;
}

/* printf into a string that stays as long as the program; one for each text, so that loops do no harm. */
static inline const char *
format (const char *text, ...)
{
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static char *kept[4096];
  char buffer[2048];
  va_list args;
  va_start (args, text);
  vsnprintf (buffer, sizeof buffer, text, args);
  va_end (args);
  pthread_mutex_lock (&lock);
  int i = 0;
  while (i < 4096 && kept[i] != NULL && strcmp (kept[i], buffer) != 0)
    i++;
  if (i == 4096) FAIL ("too many different texts");
  if (kept[i] == NULL)
    kept[i] = strdup (buffer);
  pthread_mutex_unlock (&lock);
  return kept[i];
}

/* The path of an image that all tests share: to be opened read-only. */
static inline const char *
shared_image (const char *name)
{
  const char *folder = getenv ("QCOW2BLK_TEST_IMAGES");
  if (folder == NULL) FAIL ("QCOW2BLK_TEST_IMAGES is not set (tests/abi/make-images.sh makes them)");
  return format ("%s/%s", folder, name);
}

/* A path in the folder of this test. */
static inline const char *
in_folder (const char *name)
{
  return format ("%s/%s", test_folder (), name);
}

static inline void
copy_file (const char *from, const char *to)
{
  static __thread char buffer[64 * KiB];
  int in = open (from, O_RDONLY), out = open (to, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  ssize_t count;
  if (in < 0 || out < 0) FAIL ("cannot copy %s to %s: %s", from, to, strerror (errno));
  while ((count = read (in, buffer, sizeof buffer)) > 0)
    if (write (out, buffer, (size_t) count) != count) FAIL ("cannot write %s: %s", to, strerror (errno));
  if (count < 0) FAIL ("cannot read %s: %s", from, strerror (errno));
  close (in);
  close (out);
}

/* The path of a copy of a shared image, of this test alone. */
static inline const char *
copy_of (const char *name)
{
  const char *copy = in_folder (name);
  copy_file (shared_image (name), copy);
  return copy;
}

/* The path of a copy of overlay.qcow2, with its backing file beside it. */
static inline const char *
copy_of_overlay (void)
{
  copy_of ("base.qcow2");
  return copy_of ("overlay.qcow2");
}

/* ---------------------------------------------------------------- programs */

/* Runs a shell command that has to succeed. */
static inline void
run (const char *text, ...)
{
  char command[2048];
  va_list args;
  va_start (args, text);
  vsnprintf (command, sizeof command, text, args);
  va_end (args);
  int status = system (command);
  if (status != 0) FAIL ("%s: ended with status %d", command, status);
}

/* What a shell command that has to succeed prints. */
static inline const char *
output_of (const char *text, ...)
{
  static char output[64 * KiB];
  char command[2048];
  va_list args;
  va_start (args, text);
  vsnprintf (command, sizeof command, text, args);
  va_end (args);
  FILE *pipe = popen (command, "r");
  if (pipe == NULL) FAIL ("popen: %s", strerror (errno));
  size_t count = fread (output, 1, sizeof output - 1, pipe);
  output[count] = 0;
  int status = pclose (pipe);
  if (status != 0) FAIL ("%s: ended with status %d: %s", command, status, output);
  return output;
}

/* qemu finds no error in the image, and byte in all of a range. */
static inline void
check_with_qemu (const char *path, int byte, long long offset, long long length)
{
  run ("qemu-img check -q -f qcow2 %s >&2", path);
  run ("qemu-io -r -f qcow2 -c 'read -P %d %lld %lld' %s | (! grep -iE 'fail|error' >&2)", byte, offset, length, path);
}

/* ---------------------------------------------------------------- images and this process */

static inline qcow2blk_image *
open_image (const char *path, uint32_t flags)
{
  qcow2blk_image *image;
  int result = qcow2blk_image_open (path, NULL, &image, flags);
  if (result < 0) FAIL ("cannot open %s: %s (%d)", path, qcow2blk_last_error (), result);
  return image;
}

/* Opens a copy of a shared image for writing. */
static inline qcow2blk_image *
open_copy (const char *name)
{
  return open_image (copy_of (name), 0);
}

/* A range of the disk is filled with byte. */
static inline void
check_disk (qcow2blk_image *image, int byte, uint64_t offset, size_t count)
{
  unsigned char *buffer = malloc (count);
  memset (buffer, ~byte, count);
  CHECK_EQ (count, qcow2blk_image_pread (image, buffer, count, offset, 0));
  CHECK_BYTES (byte, buffer, count);
  free (buffer);
}

/* How many entries a folder such as /proc/self/fd has. */
static inline int
count_entries (const char *path)
{
  DIR *folder = opendir (path);
  int count = 0;
  if (folder == NULL) FAIL ("cannot read %s: %s", path, strerror (errno));
  while (readdir (folder) != NULL)
    count++;
  closedir (folder);
  return count - 2;
}

static inline int
count_descriptors (void)
{
  return count_entries ("/proc/self/fd");
}

/* Threads of this process, without those that the kernel starts for an io_uring: no program can tell it not to. */
static inline int
count_threads (void)
{
  DIR *folder = opendir ("/proc/self/task");
  int count = 0;
  for (struct dirent *entry; (entry = readdir (folder)) != NULL;) {
    char name[32] = "", path[300];
    snprintf (path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
    FILE *file = entry->d_name[0] == '.' ? NULL : fopen (path, "r");
    if (file == NULL)
      continue;
    count += fgets (name, sizeof name, file) != NULL && strncmp (name, "iou-", 4) != 0;
    fclose (file);
  }
  closedir (folder);
  return count;
}

/* Resident memory of this process in KiB. */
static inline long
resident_kib (void)
{
  long pages = 0;
  FILE *file = fopen ("/proc/self/statm", "r");
  if (file == NULL || fscanf (file, "%*s %ld", &pages) != 1) FAIL ("cannot read /proc/self/statm");
  fclose (file);
  return pages * (sysconf (_SC_PAGESIZE) / KiB);
}

/* Memory of this process that no file is behind, in KiB: what it costs the machine. How much of a library's file is mapped beside
 * that depends on how the page cache happens to hold it. */
static inline long
anonymous_kib (void)
{
  char line[256];
  long kib = -1;
  FILE *file = fopen ("/proc/self/status", "r");
  while (file != NULL && kib < 0 && fgets (line, sizeof line, file) != NULL)
    sscanf (line, "RssAnon: %ld kB", &kib);
  if (kib < 0) FAIL ("cannot read RssAnon in /proc/self/status");
  fclose (file);
  return kib;
}

static inline long long
now_ms (void)
{
  struct timespec now;
  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static inline void
sleep_ms (int milliseconds)
{
  poll (NULL, 0, milliseconds);
}

#endif
