/* SPDX-License-Identifier: MIT
 *
 * qcow2blk.h: QCOW2 disk images in your own process, with the engine of the qcow2blk command.
 *
 * THE RULES OF ALL FUNCTIONS
 *
 * Results. A function that returns int, int64_t or ssize_t returns a value >= 0 if it succeeded, or a negative errno
 * value (-ENOENT). The thread that called it can then ask qcow2blk_last_error() for a text, also where there is no
 * handle because opening failed. A handle that is NULL, closed, or of another kind gives -EINVAL, and nothing
 * crashes.
 *
 * Threads. Any thread may call any function at any time, with the same handle too, unless "Threads" says otherwise. A
 * call on a handle that another thread is closing ends as usual or gives -EINVAL, -ESHUTDOWN or -ECANCELED.
 * Completion, log and event callbacks run on threads of the library (with QCOW2BLK_OPEN_CALLER_LOOP on yours). From
 * them you may submit requests; whatever has to wait, for any image (synchronous I/O, open, close, detach), gives
 * -EDEADLK. Callbacks that walk a list (qcow2blk_image_block_status, qcow2blk_image_list_snapshots and the like) run
 * inside the call, and may do everything.
 *
 * Ownership. Buffers, strings and structures stay yours. A buffer that was given to a function named _aio_ must stay
 * valid and untouched until its completion was delivered; all else is read before the call returns. Strings, file
 * names too, are UTF-8 and end with a NUL. Functions that fill in a string take the size of your buffer, always end
 * it with a NUL if there is room for one, and return the length of the whole string, so that a longer buffer can be
 * tried (as snprintf does).
 *
 * Units. Offsets and lengths are bytes of the virtual disk, and need no alignment. Times are milliseconds. flags must
 * be 0 or what the function names; others give -EINVAL.
 *
 * Growth. Functions and flags are only ever added; each has a macro QCOW2BLK_HAVE_<NAME>. Structures that start with
 * "size" get sizeof(struct ...) there, and may grow at their end.
 *
 * WHAT THE LIBRARY DOES TO YOUR PROCESS
 *
 * Nothing when it is loaded. The first call starts the runtime: one thread, and handlers for SIGSEGV, SIGFPE and the
 * real-time signal 34 (SIGRTMIN), which pass on what is not theirs to the handlers that were there before; install
 * yours before the first call. SIGPIPE stays as it was. Nothing is written to standard output or standard error, and
 * neither environment nor locale nor working directory is changed. dlclose() succeeds and leaves the library loaded.
 *
 * After fork() the child has no engine: every call there gives -ENOTRECOVERABLE at once. It may exec, or _exit; to
 * become a daemon, fork before the first call. An image has a thread of its own, and some more while it decompresses.
 */
#ifndef QCOW2BLK_H
#define QCOW2BLK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QCOW2BLK_API __attribute__((visibility("default")))
#else
#define QCOW2BLK_API
#endif

/* The version of this header: 0.1.0 is 0x000100. That of the library: qcow2blk_version(). */
#define QCOW2BLK_VERSION_MAJOR 0
#define QCOW2BLK_VERSION_MINOR 1
#define QCOW2BLK_VERSION_PATCH 0
#define QCOW2BLK_VERSION \
  ((uint32_t) QCOW2BLK_VERSION_MAJOR << 16 | QCOW2BLK_VERSION_MINOR << 8 | QCOW2BLK_VERSION_PATCH)

/* An open image. */
typedef struct qcow2blk_image qcow2blk_image;

/* An attached image: a block device or an NBD server. */
typedef struct qcow2blk_device qcow2blk_device;

/* Where completions of asynchronous requests wait to be fetched. */
typedef struct qcow2blk_queue qcow2blk_queue;

/* How an image is opened or attached. */
typedef struct qcow2blk_options qcow2blk_options;

/* ---------------------------------------------------------------- the library itself */

/**
 * qcow2blk_version - the version of the library that is loaded
 *
 * Major, minor and patch level in a byte each: 0x000100 is 0.1.0. That of the header is QCOW2BLK_VERSION.
 *
 * Returns: the version
 * Threads: any; also in a child after fork()
 * Since: 0.1
 */
QCOW2BLK_API uint32_t qcow2blk_version (void);
#define QCOW2BLK_HAVE_VERSION 1

/**
 * qcow2blk_has_feature - whether the library, on this machine, can do something
 *
 * The names are "io_uring" (the kernel lets us use it; without it threads do the work), "ublk" and "nbd" (block
 * devices of that kind can be made here and now), "deflate" and "zstd" (compressed clusters of that kind can be
 * read). A name that the library does not know is a feature that it does not have.
 *
 * Returns: 1, 0, or a negative errno
 * Errors: EINVAL: name is NULL
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_has_feature (const char *name, uint32_t flags);
#define QCOW2BLK_HAVE_HAS_FEATURE 1

/**
 * qcow2blk_last_error - what went wrong in the last call of this thread that failed
 *
 * One line without a full stop, such as "cannot open disk.qcow2: it is locked for writing by process 4711". It stays
 * valid until the next call of the same thread that fails.
 *
 * Returns: the text; empty if no call of this thread has failed
 * Threads: any; also in a child after fork()
 * Since: 0.1
 */
QCOW2BLK_API const char *qcow2blk_last_error (void);
#define QCOW2BLK_HAVE_LAST_ERROR 1

/**
 * qcow2blk_last_errno - the errno of the last call of this thread that failed
 *
 * Returns: a positive errno, or 0 if no call of this thread has failed
 * Threads: any; also in a child after fork()
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_last_errno (void);
#define QCOW2BLK_HAVE_LAST_ERRNO 1

#define QCOW2BLK_LOG_ERROR 0
#define QCOW2BLK_LOG_WARNING 1
#define QCOW2BLK_LOG_INFO 2
#define QCOW2BLK_LOG_DEBUG 3

/* A line of the log, without a line end. It is called on any thread, one line at a time, and must not call the
 * library. */
typedef void qcow2blk_log_fn (void *user_data, int level, const char *message);

/**
 * qcow2blk_set_log - hear what the library has to say that no result tells
 *
 * Without it nothing is said. It holds for all images and devices of the process, those that are open too. Lines
 * above level (one of QCOW2BLK_LOG_*) are left out. NULL as callback ends it; when that returns, the former callback
 * is not running and will not be called again.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: no such level; EDEADLK: called from the callback
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_set_log (qcow2blk_log_fn *callback, void *user_data, int level, uint32_t flags);
#define QCOW2BLK_HAVE_SET_LOG 1

/* ---------------------------------------------------------------- options */

/**
 * qcow2blk_options_create - begin a set of options
 *
 * It can be used for any number of images and devices, and closed as soon as they are open.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: options is NULL
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_options_create (qcow2blk_options **options, uint32_t flags);
#define QCOW2BLK_HAVE_OPTIONS_CREATE 1

/**
 * qcow2blk_options_set - set an option by name and text
 *
 * Names and values are those of "qcow2blk attach" without the dashes, such as "cache-size" and "64M"; flags take
 * "true" and "false". attach-options.md lists them. An option that can be given several times gets one value more
 * with each call. Those that only mean something for a device (its name, address, kind) are refused by
 * qcow2blk_image_open().
 *
 * Bases in stores have options of their own: "base" (a URL), "sha256", "mirror", "cache-dir", "source-timeout" (seconds
 * that a read waits for a source that is away, before it fails with EIO) and others: library.md, remote.md.
 *
 * The names after "-o" of "qcow2blk create" are known too, such as "cluster_size" and "encrypt.format". They are for
 * qcow2blk_create() only, which takes no others than these and those of keys.
 *
 * Returns: 0 or a negative errno; the options are as they were then
 * Errors: EINVAL: no such option, or not a value of it
 * Threads: one at a time for the same options
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_options_set (qcow2blk_options *options, const char *name, const char *value, uint32_t flags);
#define QCOW2BLK_HAVE_OPTIONS_SET 1

/**
 * qcow2blk_options_add_fd - give an open file of the backing chain
 *
 * The first one is the image itself, the next its backing file, and so on down to the base. If any are given, all
 * must be: no file is opened by name then, so that a process without the right to open them can use them. A
 * descriptor is duplicated, and stays yours. It must be open for reading, that of the image for writing too unless
 * it is opened read-only. Whether the page cache is bypassed is decided by O_DIRECT of the descriptor. Image locks
 * belong to the open file description: who shares it shares the lock.
 *
 * Returns: 0 or a negative errno
 * Errors: EBADF: not an open descriptor; E2BIG: more than a chain may have
 * Threads: one at a time for the same options
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_options_add_fd (qcow2blk_options *options, int fd, uint32_t flags);
#define QCOW2BLK_HAVE_OPTIONS_ADD_FD 1

/**
 * qcow2blk_options_set_key - give the key of an encrypted image
 *
 * The bytes are the passphrase of LUKS, or the key of legacy AES, without a line end. They are copied into memory
 * that is locked (if RLIMIT_MEMLOCK allows it), in no core dump, and wiped when the options are closed; every image
 * and device that is opened with them has a copy of its own, which is wiped when it is closed. No text ever has the
 * key. Wipe your own. Another call takes the place of the key before. The options "key-file", "key-credential",
 * "key-env" and "key-fd" name places where keys are, which are tried after this one; "key-prompt" asks on the
 * terminal of the process.
 *
 * Returns: 0 or a negative errno; the options are as they were then
 * Errors: EINVAL: not such a handle, key is NULL, or length is 0 or over 8 MiB; ENOMEM
 * Threads: one at a time for the same options
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_options_set_key (qcow2blk_options *options, const void *key, size_t length, uint32_t flags);
#define QCOW2BLK_HAVE_OPTIONS_SET_KEY 1

/**
 * qcow2blk_options_close - end a set of options
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: not such a handle
 * Threads: one at a time for the same options
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_options_close (qcow2blk_options *options, uint32_t flags);
#define QCOW2BLK_HAVE_OPTIONS_CLOSE 1

/* ---------------------------------------------------------------- image files */

/* Of a new image: replace a file that is there already, or overwrite a block device. */
#define QCOW2BLK_CREATE_REPLACE 1U

/**
 * qcow2blk_create - make an image
 *
 * The file appears under its name when it is whole, with the bytes that qemu-img would write. options, which may be
 * NULL, has what stands after "-o" of "qcow2blk create": "cluster_size", "compat", "preallocation", "backing_file"
 * with "backing_fmt" and so on (qcow2blk-create(8)). A key (qcow2blk_options_set_key() or the options that name one)
 * is needed with "encrypt.format", and refused without. size is bytes of the disk, rounded up to a multiple of 512;
 * -1 is the size of the backing file, or what the option "size" says. flags: QCOW2BLK_CREATE_REPLACE.
 *
 * Returns: 0, or a negative errno, and then nothing has changed, except on a block device
 * Errors: EINVAL: path is NULL, or options that no image can have, or that are not for it; EEXIST: there is such a
 * file, see QCOW2BLK_CREATE_REPLACE; EBUSY: the file that was to be replaced is in use; ENOENT, EACCES and others of
 * open(2), of the backing file too; EUCLEAN: the backing file is damaged; ENOSPC; EDEADLK: called from a callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_create (const char *path, int64_t size, const qcow2blk_options *options, uint32_t flags);
#define QCOW2BLK_HAVE_CREATE 1

/* What a check found; the numbers are those of "qemu-img check", in clusters unless it says otherwise. */
struct qcow2blk_check_result {
  uint32_t size; /* sizeof (struct qcow2blk_check_result) */
  uint32_t reserved;
  int64_t check_errors;        /* could not be looked at */
  int64_t corruptions;         /* errors that are left: reads may be wrong, writes may lose data */
  int64_t leaks;               /* lost space that is left */
  int64_t corruptions_fixed;   /* errors that were repaired */
  int64_t leaks_fixed;         /* lost space that was given back */
  int64_t image_end_offset;    /* bytes: where the last cluster in use ends in the file */
  int64_t total_clusters;      /* of the disk */
  int64_t allocated_clusters;  /* of these, in use */
  int64_t fragmented_clusters; /* of these, not behind the one before */
  int64_t compressed_clusters; /* of the allocated ones, compressed */
};

/* Kinds of what a check tells. */
#define QCOW2BLK_CHECK_PROGRESS 0 /* message is what is being done, done the part of it that is: 0 to 1 */
#define QCOW2BLK_CHECK_LEAK 1     /* message is a finding: space is lost */
#define QCOW2BLK_CHECK_ERROR 2    /* message is a finding: an error */
#define QCOW2BLK_CHECK_STOPPED 3  /* message says why the check, or the repair, ended early */

/* It is called on a thread of the library or on the one that checks, one at a time, and must not call the library. The
 * message is valid during the call; done is 0 of a finding. */
typedef void qcow2blk_check_fn (void *user_data, int kind, const char *message, double done);

/* Repair leaks, and nothing else. */
#define QCOW2BLK_CHECK_REPAIR_LEAKS 1U

/* Repair all that can be repaired. */
#define QCOW2BLK_CHECK_REPAIR_ALL 2U

/* Look at an image that somebody is writing: the findings may be wrong. Not with a repair. */
#define QCOW2BLK_CHECK_IGNORE_LOCKS 4U

/* Results of a check: the exit codes of "qemu-img check". */
#define QCOW2BLK_CHECK_CLEAN 0
#define QCOW2BLK_CHECK_INCOMPLETE 1 /* something could not be looked at, or be repaired */
#define QCOW2BLK_CHECK_CORRUPT 2    /* there are errors */
#define QCOW2BLK_CHECK_LEAKING 3    /* there are leaks and no errors */

/**
 * qcow2blk_check - check the metadata of an image file, and repair it
 *
 * What is said of the image is how it is afterwards: what was repaired is only counted as that. An encrypted image
 * needs no key. result and callback may be NULL. The callback is told QCOW2BLK_CHECK_PROGRESS, of the findings (of very
 * many, of the first) QCOW2BLK_CHECK_LEAK and QCOW2BLK_CHECK_ERROR, and QCOW2BLK_CHECK_STOPPED. flags:
 * QCOW2BLK_CHECK_REPAIR_LEAKS or QCOW2BLK_CHECK_REPAIR_ALL, QCOW2BLK_CHECK_IGNORE_LOCKS.
 *
 * Returns: QCOW2BLK_CHECK_CLEAN, _INCOMPLETE, _CORRUPT or _LEAKING; or a negative errno, and *result is as it was
 * Errors: EINVAL: path is NULL, size of *result is too small, or flags that contradict each other; ENOENT, EACCES and
 * others of open(2); EBUSY: somebody has the image open; EOPNOTSUPP: it is not a qcow2 image; EDEADLK: called from a
 * callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_check (const char *path, struct qcow2blk_check_result *result, qcow2blk_check_fn *callback,
                                 void *user_data, uint32_t flags);
#define QCOW2BLK_HAVE_CHECK 1

/* ---------------------------------------------------------------- images */

/* Open for reading only. Several processes may have an image open so, but none that writes. */
#define QCOW2BLK_OPEN_READ_ONLY 1U

/* The image gets no thread: it does its work inside qcow2blk_image_process() and inside synchronous calls. It belongs
 * to the thread that opened it, and calls of other threads give -EPERM. (The kernel may still have workers for its
 * I/O.) */
#define QCOW2BLK_OPEN_CALLER_LOOP 2U

/**
 * qcow2blk_image_open - open an image and all its backing files
 *
 * The image is locked as qemu locks it, so that no other program changes it. path may be NULL if options has
 * descriptors. options may be NULL. The format is never guessed: it is qcow2 unless the option "format" says "raw".
 * Internal snapshots are opened with the option "snapshot", which makes the image read-only. flags:
 * QCOW2BLK_OPEN_READ_ONLY, QCOW2BLK_OPEN_CALLER_LOOP.
 *
 * Returns: 0, and the handle in *image; or a negative errno, and NULL there
 * Errors: ENOENT, EACCES and others of open(2); EBUSY: somebody else uses the image; EINVAL: an option that
 * contradicts another, or that is for devices; EUCLEAN: the image is damaged; ENOTSUP: it needs something that the
 * library does not support; EIO: the source of a base does not answer, or is not what it should be; EMFILE; ENOMEM
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_open (const char *path, const qcow2blk_options *options, qcow2blk_image **image,
                                      uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_OPEN 1

/**
 * qcow2blk_image_close - end all requests, flush and close the image
 *
 * Requests that have not begun are completed with -ECANCELED, those that have begun are waited for: when it returns,
 * every completion was delivered and no buffer is in use. The handle is invalid afterwards, unless the result is
 * -EINVAL, -EPERM or -EDEADLK: other errors say that what was written since the last flush may be lost.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: not such a handle; EDEADLK: called from a callback of the image; EIO, ENOSPC and others of the
 * files
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_close (qcow2blk_image *image, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_CLOSE 1

/**
 * qcow2blk_image_size - how large the virtual disk is
 *
 * Returns: bytes, a multiple of 512; or a negative errno
 * Errors: EINVAL: not such a handle
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int64_t qcow2blk_image_size (qcow2blk_image *image);
#define QCOW2BLK_HAVE_IMAGE_SIZE 1

/**
 * qcow2blk_image_cluster_size - how large the unit is that the image allocates
 *
 * Returns: bytes, a power of two; or a negative errno
 * Errors: EINVAL: not such a handle
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int64_t qcow2blk_image_cluster_size (qcow2blk_image *image);
#define QCOW2BLK_HAVE_IMAGE_CLUSTER_SIZE 1

/**
 * qcow2blk_image_is_read_only - whether writes are refused with -EROFS
 *
 * Returns: 1, 0, or a negative errno
 * Errors: EINVAL: not such a handle
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_is_read_only (qcow2blk_image *image);
#define QCOW2BLK_HAVE_IMAGE_IS_READ_ONLY 1

/**
 * qcow2blk_image_format_version - which version of the qcow2 format the image has
 *
 * Returns: 2 ("compat=0.10") or 3 ("compat=1.1"); 0 for a raw image; or a negative errno
 * Errors: EINVAL: not such a handle
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_format_version (qcow2blk_image *image);
#define QCOW2BLK_HAVE_IMAGE_FORMAT_VERSION 1

/**
 * qcow2blk_image_backing_file - the name of the backing file, as the image says it
 *
 * Returns: the length of the name, 0 if there is none (see "Ownership" above for strings); or a negative errno
 * Errors: EINVAL: not such a handle, or buffer is NULL and size is not 0
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_image_backing_file (qcow2blk_image *image, char *buffer, size_t size);
#define QCOW2BLK_HAVE_IMAGE_BACKING_FILE 1

/**
 * qcow2blk_image_info - all that is known of the open image, as a JSON object
 *
 * Its members are those of "qcow2blk status --json" as far as they are about the image (json.md): "image",
 * "geometry", "chain", "cache", "bitmaps", "error".
 *
 * Returns: the length of the text (see "Ownership" above for strings); or a negative errno
 * Errors: EINVAL: not such a handle, or buffer is NULL and size is not 0; EDEADLK: called from a callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_image_info (qcow2blk_image *image, char *buffer, size_t size, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_INFO 1

/* An internal snapshot. Its strings are valid during the callback. */
struct qcow2blk_snapshot {
  uint32_t size;             /* of what the library has filled in */
  uint32_t date_nanoseconds; /* to be added to date_seconds */
  const char *id;            /* as "qemu-img snapshot -l" shows it; unique */
  const char *name;          /* may be that of another snapshot too */
  int64_t date_seconds;      /* since 1970, when it was made */
  uint64_t vm_clock;         /* nanoseconds that the guest had run */
  uint64_t vm_state_size;    /* bytes of saved memory; 0 for a snapshot of the disk alone */
  uint64_t disk_size;        /* bytes of the disk at that time */
};

/* A value other than 0 ends the list, and becomes the result of the function. */
typedef int qcow2blk_snapshot_fn (void *user_data, const struct qcow2blk_snapshot *snapshot);

/**
 * qcow2blk_image_list_snapshots - tell of the internal snapshots, in the order of the image
 *
 * The callback runs on the calling thread, inside this call.
 *
 * Returns: 0, what the callback returned to end the list, or a negative errno
 * Errors: EINVAL: not such a handle, or callback is NULL
 * Threads: any, but not from a callback of the image
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_list_snapshots (qcow2blk_image *image, qcow2blk_snapshot_fn *callback, void *user_data,
                                                uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_LIST_SNAPSHOTS 1

/* ---------------------------------------------------------------- synchronous I/O */

/* The change survives a loss of power when the call returns (force unit access). */
#define QCOW2BLK_FUA 1U

/* Of a write of zeroes: keep the space allocated, instead of making a hole. */
#define QCOW2BLK_NO_HOLE 2U

/* Of a write of zeroes: fail with -EOPNOTSUPP where it would be no faster than writing zeroes. */
#define QCOW2BLK_FAST_ZERO 4U

/**
 * qcow2blk_image_pread - read
 *
 * All of the range is read or none: the result is never short. What lies in clusters that are in use already, and
 * whose tables are cached, is read by the calling thread itself with one system call.
 *
 * Returns: count, or a negative errno
 * Errors: EINVAL: not such a handle, buffer is NULL, or the range is not on the disk; EDEADLK: called from a callback
 * of the image; EIO and others of the files
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_image_pread (qcow2blk_image *image, void *buffer, size_t count, uint64_t offset,
                                           uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_PREAD 1

/**
 * qcow2blk_image_pwrite - write
 *
 * All of the range is written, or the result is an error and any part of it may have been written. It survives a loss
 * of power after the next flush, or with QCOW2BLK_FUA at once.
 *
 * Returns: count, or a negative errno
 * Errors: as qcow2blk_image_pread(); EROFS: the image is read-only; ENOSPC: no space on the file system; EIO: also
 * after the image was found to be corrupt
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_image_pwrite (qcow2blk_image *image, const void *buffer, size_t count, uint64_t offset,
                                            uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_PWRITE 1

/**
 * qcow2blk_image_preadv - read into several buffers
 *
 * As qcow2blk_image_pread(), filling one buffer after the other.
 *
 * Returns: the sum of the lengths, or a negative errno
 * Errors: as qcow2blk_image_pread(); EINVAL: iovcnt is negative or over 1024
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_image_preadv (qcow2blk_image *image, const struct iovec *iov, int iovcnt, uint64_t offset,
                                            uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_PREADV 1

/**
 * qcow2blk_image_pwritev - write from several buffers
 *
 * As qcow2blk_image_pwrite(), taking one buffer after the other.
 *
 * Returns: the sum of the lengths, or a negative errno
 * Errors: as qcow2blk_image_pwrite(); EINVAL: iovcnt is negative or over 1024
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_image_pwritev (qcow2blk_image *image, const struct iovec *iov, int iovcnt,
                                             uint64_t offset, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_PWRITEV 1

/**
 * qcow2blk_image_flush - make everything that was written survive a loss of power
 *
 * It covers the writes that were completed before the call.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: not such a handle; EDEADLK: called from a callback of the image; EIO, ENOSPC and others of the
 * files
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_flush (qcow2blk_image *image, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_FLUSH 1

/**
 * qcow2blk_image_discard - free the clusters inside a range
 *
 * Whole clusters read as zeroes afterwards, and never as what a backing file has there; the rest of the range is left
 * as it is. flags: QCOW2BLK_FUA.
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_pwrite()
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_discard (qcow2blk_image *image, uint64_t offset, uint64_t length, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_DISCARD 1

/**
 * qcow2blk_image_write_zeroes - make a range read as zeroes, by the cheapest means
 *
 * flags: QCOW2BLK_FUA, QCOW2BLK_NO_HOLE, QCOW2BLK_FAST_ZERO.
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_pwrite(); EOPNOTSUPP: see QCOW2BLK_FAST_ZERO; nothing was changed then
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_write_zeroes (qcow2blk_image *image, uint64_t offset, uint64_t length, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_WRITE_ZEROES 1

/* No space is allocated for it. */
#define QCOW2BLK_EXTENT_HOLE 1U

/* It reads as zeroes. */
#define QCOW2BLK_EXTENT_ZERO 2U

/* A bitmap has it dirty: qcow2blk_image_bitmap_status() alone tells this. */
#define QCOW2BLK_EXTENT_DIRTY 4U

/* A range of the disk that is alike. */
struct qcow2blk_extent {
  uint64_t offset;
  uint64_t length; /* never 0 */
  uint32_t flags;  /* QCOW2BLK_EXTENT_* */
  uint32_t depth;  /* 0: no image of the chain has anything there; 1: the image itself; 2: its backing file; ... */
};

/* A value other than 0 ends the walk, and becomes the result of the function. */
typedef int qcow2blk_extent_fn (void *user_data, const struct qcow2blk_extent *extent);

/**
 * qcow2blk_image_block_status - tell what a range of the disk holds
 *
 * The extents come in order and without gaps, the last one cut to the range. Two neighbours may be alike. The
 * callback runs on the calling thread, inside this call.
 *
 * Returns: 0, what the callback returned to end the walk, or a negative errno
 * Errors: EINVAL: not such a handle, callback is NULL, or the range is not on the disk; EDEADLK: called from a
 * callback of the image; EIO and others of the files
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_block_status (qcow2blk_image *image, uint64_t offset, uint64_t length,
                                              qcow2blk_extent_fn *callback, void *user_data, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_BLOCK_STATUS 1

/* ---------------------------------------------------------------- size, snapshots, bitmaps and checkpoints of an image
 *
 * These change the image itself while it is in use. Requests that are in progress are waited for, those that come
 * meanwhile wait and are not refused, whatever thread or queue they are of; one such change is made after the other.
 * A change that fails has changed nothing, unless it says otherwise. It waits, so a callback of the library gets
 * -EDEADLK.
 */

/* Of a resize, and of a resume: the disk may become smaller. */
#define QCOW2BLK_ALLOW_SHRINK 1U

/**
 * qcow2blk_image_resize - give the disk another size
 *
 * size is in bytes, rounded up to a multiple of 512. What is new reads as zeroes; what is behind the end of a
 * smaller disk is lost. The files are closed and opened again, as qcow2blk_image_revert_snapshot() says; requests
 * that waited and do not fit any more end with -EINVAL. Bitmaps get the new size too. A raw image can be resized.
 * flags: QCOW2BLK_ALLOW_SHRINK.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: not such a handle, or no disk can have that size; ERANGE: it would become smaller, see
 * QCOW2BLK_ALLOW_SHRINK; EROFS: the image is open for reading only; EIO: it cannot have that size, see
 * qcow2blk_last_error(); ENOSPC and others of the files, and of qcow2blk_image_open(); ESHUTDOWN: the image is being
 * closed; EDEADLK: called from a callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_resize (qcow2blk_image *image, uint64_t size, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_RESIZE 1

/* Room for the ID of a snapshot that was made here, with its NUL. */
#define QCOW2BLK_SNAPSHOT_ID_SIZE 24

/**
 * qcow2blk_image_create_snapshot - keep the disk as it is now
 *
 * All writes that have ended are in the snapshot. name need not be unique; the ID of the snapshot, which is, is put
 * into id unless that is NULL, cut to size and ended with a NUL; QCOW2BLK_SNAPSHOT_ID_SIZE bytes are enough.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: not such a handle, name is NULL or over 65535 bytes; EROFS: the image is open for reading only;
 * EOPNOTSUPP: it is raw; EIO: it cannot have one, see qcow2blk_last_error(); ENOSPC and others of the files;
 * ESHUTDOWN: the image is being closed; EDEADLK: called from a callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_create_snapshot (qcow2blk_image *image, const char *name, char *id, size_t size,
                                                 uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_CREATE_SNAPSHOT 1

/**
 * qcow2blk_image_delete_snapshot - forget a snapshot
 *
 * snapshot is an ID or a name that only one of them has.
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_create_snapshot(); ENOENT: there is no such snapshot; EINVAL: it could be several
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_delete_snapshot (qcow2blk_image *image, const char *snapshot, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_DELETE_SNAPSHOT 1

/**
 * qcow2blk_image_revert_snapshot - make the disk what it was when a snapshot was made
 *
 * What was written since is lost. snapshot is an ID or a name that only one of them has. The disk has the size that
 * it had then, so qcow2blk_image_size() may change; requests that waited and do not fit any more end with -EINVAL.
 * The files are closed and opened again, by the names or descriptors that they were opened by. Should that fail, the
 * result says why, the handle gives -EIO for all that needs the disk, and can only be closed; the file itself is
 * whole.
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_delete_snapshot(), and as qcow2blk_image_open()
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_revert_snapshot (qcow2blk_image *image, const char *snapshot, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_REVERT_SNAPSHOT 1

/* Of a bitmap that is added: do not record until it is enabled. */
#define QCOW2BLK_BITMAP_DISABLED 1U

/* What a bitmap is. */
#define QCOW2BLK_BITMAP_RECORDS 2U      /* enabled: every write, discard and write of zeroes sets its bits */
#define QCOW2BLK_BITMAP_INCONSISTENT 4U /* of no use: whoever wrote the image last did not keep it */
#define QCOW2BLK_BITMAP_EXPORTED 8U     /* NBD clients look at it */

/* A persistent dirty bitmap. Its name is valid during the callback. */
struct qcow2blk_bitmap {
  uint32_t size;  /* of what the library has filled in */
  uint32_t flags; /* QCOW2BLK_BITMAP_*; none if it is disabled and valid */
  const char *name;
  uint64_t granularity; /* bytes of the disk that a bit stands for */
  int64_t dirty_bytes;  /* bytes of the disk that its bits stand for; -1 if nobody can tell */
};

/* A value other than 0 ends the list, and becomes the result of the function. */
typedef int qcow2blk_bitmap_fn (void *user_data, const struct qcow2blk_bitmap *bitmap);

/**
 * qcow2blk_image_list_bitmaps - tell of the persistent bitmaps, in the order of the image
 *
 * The callback runs on the calling thread, inside this call.
 *
 * Returns: 0, what the callback returned to end the list, or a negative errno
 * Errors: EINVAL: not such a handle, or callback is NULL; EIO: their directory is damaged; EDEADLK: called from a
 * callback of the image
 * Threads: any, but not from a callback of the image
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_list_bitmaps (qcow2blk_image *image, qcow2blk_bitmap_fn *callback, void *user_data,
                                              uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_LIST_BITMAPS 1

/**
 * qcow2blk_image_add_bitmap - add a persistent bitmap
 *
 * It has no bit set, and records from now on, in this image and whoever opens it after this. granularity is a power
 * of two, 512 bytes to 2 GiB; 0 is the size of a cluster, 4 KiB at least and 64 KiB at most. flags:
 * QCOW2BLK_BITMAP_DISABLED.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: not such a handle, name is NULL, empty or over 1023 bytes, or no such granularity; EEXIST: there
 * is one of that name; EROFS: the image is open for reading only; EOPNOTSUPP: it is raw; EIO: it cannot have one,
 * see qcow2blk_last_error(); ENOSPC and others of the files; ESHUTDOWN: the image is being closed; EDEADLK: called
 * from a callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_add_bitmap (qcow2blk_image *image, const char *name, uint64_t granularity,
                                            uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_ADD_BITMAP 1

/**
 * qcow2blk_image_remove_bitmap - remove a bitmap
 *
 * This alone can be done with a bitmap that is inconsistent.
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_add_bitmap(); ENOENT: there is no such bitmap
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_remove_bitmap (qcow2blk_image *image, const char *name, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_REMOVE_BITMAP 1

/**
 * qcow2blk_image_clear_bitmap - clear every bit of a bitmap
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_remove_bitmap(); EIO: also if it is inconsistent
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_clear_bitmap (qcow2blk_image *image, const char *name, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_CLEAR_BITMAP 1

/**
 * qcow2blk_image_enable_bitmap - have a bitmap record from now on
 *
 * One that records already does so still.
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_clear_bitmap()
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_enable_bitmap (qcow2blk_image *image, const char *name, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_ENABLE_BITMAP 1

/**
 * qcow2blk_image_disable_bitmap - have a bitmap stay as it is now
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_clear_bitmap()
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_disable_bitmap (qcow2blk_image *image, const char *name, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_DISABLE_BITMAP 1

/**
 * qcow2blk_image_merge_bitmap - add the bits of one bitmap to another
 *
 * Their granularities may differ. from stays as it is.
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_clear_bitmap()
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_merge_bitmap (qcow2blk_image *image, const char *name, const char *from, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_MERGE_BITMAP 1

/**
 * qcow2blk_image_bitmap_status - tell what a bitmap says of a range of the disk
 *
 * What "qemu:dirty-bitmap:NAME" is to clients of NBD. The extents have QCOW2BLK_EXTENT_DIRTY or no flag, and depth
 * 0; they come in order and without gaps, neighbours differ, and the last one is cut to the range. All of them are
 * of one moment: every write that had ended before the call is in them if the bitmap records. The callback runs on
 * the calling thread, inside this call, and nothing waits for it.
 *
 * Returns: 0, what the callback returned to end the walk, or a negative errno
 * Errors: EINVAL: not such a handle, name or callback is NULL, or the range is not on the disk; ENOENT: there is no
 * such bitmap; EOPNOTSUPP: the image is raw; EIO: the bitmap is inconsistent or damaged; ENOMEM; ESHUTDOWN: the
 * image is being closed; EDEADLK: called from a callback of the image
 * Threads: any, but not from a callback of the image
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_bitmap_status (qcow2blk_image *image, const char *name, uint64_t offset,
                                               uint64_t length, qcow2blk_extent_fn *callback, void *user_data,
                                               uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_BITMAP_STATUS 1

/* A checkpoint: an internal snapshot and a bitmap of the same name. Its strings are valid during the callback. */
struct qcow2blk_checkpoint {
  uint32_t size;             /* of what the library has filled in */
  uint32_t flags;            /* of its bitmap: QCOW2BLK_BITMAP_*; none if there is a checkpoint after it */
  const char *name;          /* of snapshot and bitmap */
  const char *snapshot_id;   /* as "qemu-img snapshot -l" shows it */
  int64_t date_seconds;      /* since 1970, when it was made */
  uint32_t date_nanoseconds; /* to be added to date_seconds */
  uint32_t reserved;
  uint64_t granularity; /* bytes of the disk that a bit stands for */
  int64_t dirty_bytes;  /* of the disk, changed from this checkpoint to the next; -1 if nobody can tell */
};

/* A value other than 0 ends the list, and becomes the result of the function. */
typedef int qcow2blk_checkpoint_fn (void *user_data, const struct qcow2blk_checkpoint *checkpoint);

/**
 * qcow2blk_image_list_checkpoints - tell of the checkpoints, the oldest first
 *
 * They are the snapshots that have a bitmap of their name. The bitmap of the last one has QCOW2BLK_BITMAP_RECORDS; one
 * that has QCOW2BLK_BITMAP_INCONSISTENT cannot tell what has changed. The callback runs on the calling thread, inside
 * this call.
 *
 * Returns: 0, what the callback returned to end the list, or a negative errno
 * Errors: EINVAL: not such a handle, or callback is NULL; EOPNOTSUPP: the image is raw; EIO: the directory of the
 * bitmaps is damaged; ESHUTDOWN: the image is being closed; EDEADLK: called from a callback of the image
 * Threads: any, but not from a callback of the image
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_list_checkpoints (qcow2blk_image *image, qcow2blk_checkpoint_fn *callback,
                                                  void *user_data, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_LIST_CHECKPOINTS 1

/**
 * qcow2blk_image_create_checkpoint - keep the disk as it is now, and record what changes from now on
 *
 * Makes a snapshot and a bitmap of that name, both or none; the bitmap of the checkpoint before stops recording. So
 * the snapshot is what a backup copies, and the bitmap before says which parts of it a backup of the checkpoint
 * before does not have. granularity is as for qcow2blk_image_add_bitmap(); 0 is that of the checkpoint before, if
 * there is one.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: not such a handle, name is NULL, empty, a number or over 1023 bytes, or no such granularity;
 * EEXIST: there is a snapshot or a bitmap of that name; EROFS: the image is open for reading only; EOPNOTSUPP: it is
 * raw; EIO: it cannot have one, see qcow2blk_last_error(); ENOSPC and others of the files; ESHUTDOWN: the image is
 * being closed; EDEADLK: called from a callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_create_checkpoint (qcow2blk_image *image, const char *name, uint64_t granularity,
                                                   uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_CREATE_CHECKPOINT 1

/**
 * qcow2blk_image_delete_checkpoint - forget a checkpoint
 *
 * What its bitmap has is added to that of the checkpoint before, which records again if this one did: what has
 * changed since an earlier checkpoint is known as before. One that is not there is deleted already.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: not such a handle, or name is NULL; EBUSY: another process reads the image; EROFS, EOPNOTSUPP, EIO,
 * ENOSPC, ESHUTDOWN, EDEADLK: as qcow2blk_image_create_checkpoint()
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_delete_checkpoint (qcow2blk_image *image, const char *name, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_DELETE_CHECKPOINT 1

/* ---------------------------------------------------------------- asynchronous I/O */

/* The result of a request: what the synchronous function of that name returns. It is called once for each request that
 * was accepted. */
typedef void qcow2blk_completion_fn (void *user_data, int64_t result);

/* How to tell of the end of a request: through a queue, or by a callback if queue is NULL. It is read before the
 * function that gets it returns. A callback runs on the thread of the image, never inside the function that
 * submits; it should be short, as all requests of the image wait for it. */
struct qcow2blk_notify {
  uint32_t size; /* sizeof (struct qcow2blk_notify) */
  uint32_t reserved;
  qcow2blk_queue *queue;
  qcow2blk_completion_fn *callback;
  void *user_data; /* given back with the result */
};

/* The end of a request, as a queue tells it. */
struct qcow2blk_completion {
  void *user_data;
  int64_t result;
};

/**
 * qcow2blk_queue_create - make a queue for completions
 *
 * Requests of any number of images and threads can end in one queue. At most depth of them (1 to 65536) may be in
 * flight or wait to be fetched.
 *
 * Returns: 0, and the handle in *queue; or a negative errno, and NULL there
 * Errors: EINVAL: queue is NULL, or depth is out of range; EMFILE; ENOMEM
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_queue_create (qcow2blk_queue **queue, uint32_t depth, uint32_t flags);
#define QCOW2BLK_HAVE_QUEUE_CREATE 1

/**
 * qcow2blk_queue_fd - a descriptor that is readable while completions wait
 *
 * It is an eventfd, for poll, epoll, io_uring and the like. Only look at it: do not read it, write it or close it.
 * qcow2blk_queue_wait() makes it unreadable again.
 *
 * Returns: the descriptor, or a negative errno
 * Errors: EINVAL: not such a handle
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_queue_fd (qcow2blk_queue *queue);
#define QCOW2BLK_HAVE_QUEUE_FD 1

/**
 * qcow2blk_queue_wait - fetch completions
 *
 * Fills in at least one and at most max completions, in the order in which the requests ended. timeout is how long to
 * wait for the first: 0 not at all, -1 indefinitely.
 *
 * Returns: how many were filled in, 0 if none came in time; or a negative errno
 * Errors: EINVAL: not such a handle, or completions is NULL; EINTR: a signal came while it waited; ESHUTDOWN: the
 * queue was closed meanwhile
 * Threads: any; each completion goes to one of them
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_queue_wait (qcow2blk_queue *queue, struct qcow2blk_completion *completions, uint32_t max,
                                      int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_QUEUE_WAIT 1

/**
 * qcow2blk_queue_close - end a queue
 *
 * Completions that wait in it are dropped.
 *
 * Returns: 0 or a negative errno; the queue is as it was then
 * Errors: EINVAL: not such a handle; EBUSY: requests that will end in it are in flight
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_queue_close (qcow2blk_queue *queue, uint32_t flags);
#define QCOW2BLK_HAVE_QUEUE_CLOSE 1

/**
 * qcow2blk_image_aio_pread - begin to read
 *
 * As qcow2blk_image_pread(), but nobody waits: the result comes as notify says.
 *
 * Returns: 0 if the request was accepted; or a negative errno, and no completion comes
 * Errors: EINVAL: not such a handle, buffer or notify is NULL, notify names neither a queue nor a callback, or the
 * range is not on the disk; EAGAIN: too many requests of the image (65536) or of the queue are in flight;
 * ESHUTDOWN: the image is being closed
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_aio_pread (qcow2blk_image *image, void *buffer, size_t count, uint64_t offset,
                                           const struct qcow2blk_notify *notify, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_AIO_PREAD 1

/**
 * qcow2blk_image_aio_pwrite - begin to write
 *
 * As qcow2blk_image_pwrite(), but nobody waits: the result comes as notify says.
 *
 * Returns: 0 if the request was accepted; or a negative errno, and no completion comes
 * Errors: as qcow2blk_image_aio_pread(); EROFS: the image is read-only
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_aio_pwrite (qcow2blk_image *image, const void *buffer, size_t count, uint64_t offset,
                                            const struct qcow2blk_notify *notify, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_AIO_PWRITE 1

/**
 * qcow2blk_image_aio_preadv - begin to read into several buffers
 *
 * As qcow2blk_image_preadv(), but nobody waits: the result comes as notify says. The iovec array is copied.
 *
 * Returns: 0 if the request was accepted; or a negative errno, and no completion comes
 * Errors: as qcow2blk_image_aio_pread(); EINVAL: iovcnt is negative or over 1024
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_aio_preadv (qcow2blk_image *image, const struct iovec *iov, int iovcnt, uint64_t offset,
                                            const struct qcow2blk_notify *notify, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_AIO_PREADV 1

/**
 * qcow2blk_image_aio_pwritev - begin to write from several buffers
 *
 * As qcow2blk_image_pwritev(), but nobody waits: the result comes as notify says. The iovec array is copied.
 *
 * Returns: 0 if the request was accepted; or a negative errno, and no completion comes
 * Errors: as qcow2blk_image_aio_pwrite(); EINVAL: iovcnt is negative or over 1024
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_aio_pwritev (qcow2blk_image *image, const struct iovec *iov, int iovcnt,
                                             uint64_t offset, const struct qcow2blk_notify *notify, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_AIO_PWRITEV 1

/**
 * qcow2blk_image_aio_flush - begin to flush
 *
 * As qcow2blk_image_flush(), but nobody waits: the result comes as notify says. Flushes that meet share their work.
 *
 * Returns: 0 if the request was accepted; or a negative errno, and no completion comes
 * Errors: as qcow2blk_image_aio_pread()
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_aio_flush (qcow2blk_image *image, const struct qcow2blk_notify *notify, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_AIO_FLUSH 1

/**
 * qcow2blk_image_aio_discard - begin to discard
 *
 * As qcow2blk_image_discard(), but nobody waits: the result comes as notify says.
 *
 * Returns: 0 if the request was accepted; or a negative errno, and no completion comes
 * Errors: as qcow2blk_image_aio_pwrite()
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_aio_discard (qcow2blk_image *image, uint64_t offset, uint64_t length,
                                             const struct qcow2blk_notify *notify, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_AIO_DISCARD 1

/**
 * qcow2blk_image_aio_write_zeroes - begin to write zeroes
 *
 * As qcow2blk_image_write_zeroes(), but nobody waits: the result comes as notify says.
 *
 * Returns: 0 if the request was accepted; or a negative errno, and no completion comes
 * Errors: as qcow2blk_image_aio_pwrite()
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_aio_write_zeroes (qcow2blk_image *image, uint64_t offset, uint64_t length,
                                                  const struct qcow2blk_notify *notify, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_AIO_WRITE_ZEROES 1

/**
 * qcow2blk_image_aio_block_status - begin to find out what a range of the disk holds
 *
 * Fills in at least one and at most max extents, from offset on and without gaps; they may end before the range does.
 * The array stays in use until the completion, whose result is how many were filled in.
 *
 * Returns: 0 if the request was accepted; or a negative errno, and no completion comes
 * Errors: as qcow2blk_image_aio_pread(); EINVAL: extents is NULL, or max or length is 0
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_aio_block_status (qcow2blk_image *image, uint64_t offset, uint64_t length,
                                                  struct qcow2blk_extent *extents, uint32_t max,
                                                  const struct qcow2blk_notify *notify, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_AIO_BLOCK_STATUS 1

/**
 * qcow2blk_image_in_flight - how many asynchronous requests have not ended
 *
 * Returns: their number, or a negative errno
 * Errors: EINVAL: not such a handle
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_in_flight (qcow2blk_image *image);
#define QCOW2BLK_HAVE_IMAGE_IN_FLIGHT 1

/**
 * qcow2blk_image_fd - a descriptor that is readable when the image has something to do
 *
 * Only of an image that was opened with QCOW2BLK_OPEN_CALLER_LOOP: when poll or epoll find it readable, call
 * qcow2blk_image_process(). Only look at it: do not read it, write it or close it.
 *
 * Returns: the descriptor, or a negative errno
 * Errors: EINVAL: not such a handle, or the image has a thread of its own
 * Threads: the one that opened the image
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_fd (qcow2blk_image *image);
#define QCOW2BLK_HAVE_IMAGE_FD 1

/**
 * qcow2blk_image_process - do what there is to do, without waiting
 *
 * Only of an image that was opened with QCOW2BLK_OPEN_CALLER_LOOP. It hands new requests to the kernel, takes what is
 * finished, and runs callbacks. Call it after you have submitted requests, and when the descriptor is readable.
 *
 * Returns: how many requests ended, or a negative errno
 * Errors: EINVAL: not such a handle, or the image has a thread of its own; EDEADLK: called from a callback of the
 * image
 * Threads: the one that opened the image
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_image_process (qcow2blk_image *image, uint32_t flags);
#define QCOW2BLK_HAVE_IMAGE_PROCESS 1

/* ---------------------------------------------------------------- devices */

#define QCOW2BLK_STATE_RUNNING 0
#define QCOW2BLK_STATE_SUSPENDING 1 /* held, waiting for requests in progress */
#define QCOW2BLK_STATE_SUSPENDED 2  /* the image file is closed and can be edited */
#define QCOW2BLK_STATE_DETACHING 3
#define QCOW2BLK_STATE_FAILED 4 /* takes no more writes; status tells why */
#define QCOW2BLK_STATE_ENDED 5  /* detached, or its server died */

/**
 * qcow2blk_device_attach - open an image and serve it as a block device or over NBD
 *
 * path is a file name; options with descriptors are refused, as a device opens its files again when it is resumed.
 * The options are those of "qcow2blk attach": "socket" or "listen" for NBD, "transport" or "device" for a block
 * device, which is also made if none of them is given. NBD is served by threads of this process. A block device gets
 * a process of its own, the qcow2blk command that is installed with the library: it outlives the handle and this
 * process, and is recovered if it dies. Both are listed by "qcow2blk list" and can be suspended, resumed and
 * detached by the command too.
 *
 * Returns: 0, and the handle in *device; or a negative errno, and NULL there
 * Errors: as qcow2blk_image_open(); EBUSY: also the name or the device node is taken; EADDRINUSE, EADDRNOTAVAIL: the
 * address; ENOTSUP: the kernel has no such block device; EPERM: not allowed to make one; ENOEXEC: the qcow2blk
 * command is not found; EIO: the block device cannot be made, see qcow2blk_last_error()
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_attach (const char *path, const qcow2blk_options *options, qcow2blk_device **device,
                                         uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_ATTACH 1

/**
 * qcow2blk_device_open - get a handle of a device that is attached already
 *
 * target is its name, node, image or URI, as for "qcow2blk status". Devices that other processes have attached are
 * found too.
 *
 * Returns: 0, and the handle in *device; or a negative errno, and NULL there
 * Errors: ENODEV: there is none; EINVAL: target is NULL, or fits several; ECONNREFUSED: its server is dead
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_open (const char *target, qcow2blk_device **device, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_OPEN 1

/**
 * qcow2blk_device_name - the name of the device
 *
 * Returns: the length of the name (see "Ownership" above for strings), or a negative errno
 * Errors: EINVAL: not such a handle, or buffer is NULL and size is not 0
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_device_name (qcow2blk_device *device, char *buffer, size_t size);
#define QCOW2BLK_HAVE_DEVICE_NAME 1

/**
 * qcow2blk_device_uri - the NBD URI that clients connect to
 *
 * Returns: the length of the URI, 0 for a block device (see "Ownership" above for strings); or a negative errno
 * Errors: EINVAL: not such a handle, or buffer is NULL and size is not 0
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_device_uri (qcow2blk_device *device, char *buffer, size_t size);
#define QCOW2BLK_HAVE_DEVICE_URI 1

/**
 * qcow2blk_device_path - the node of the block device, such as /dev/ublkb0
 *
 * Returns: the length of the path, 0 for an NBD server (see "Ownership" above for strings); or a negative errno
 * Errors: EINVAL: not such a handle, or buffer is NULL and size is not 0
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_device_path (qcow2blk_device *device, char *buffer, size_t size);
#define QCOW2BLK_HAVE_DEVICE_PATH 1

/**
 * qcow2blk_device_state - what the device is doing
 *
 * Returns: QCOW2BLK_STATE_*, or a negative errno
 * Errors: EINVAL: not such a handle; EIO: its server did not answer
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_state (qcow2blk_device *device, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_STATE 1

/**
 * qcow2blk_device_status - what "qcow2blk status --json" says of the device
 *
 * Returns: the length of the text (see "Ownership" above for strings), or a negative errno
 * Errors: EINVAL: not such a handle, or buffer is NULL and size is not 0; ESRCH: the device has ended; EIO: its
 * server did not answer
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API ssize_t qcow2blk_device_status (qcow2blk_device *device, char *buffer, size_t size, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_STATUS 1

/**
 * qcow2blk_device_suspend - hold all requests and leave a closed, consistent image file
 *
 * When it returns, qemu-img and other programs can change the file. timeout is how long requests in progress may
 * take; -1 is 30 seconds. A device that is suspended stays so.
 *
 * Returns: 0, or a negative errno, and the device goes on
 * Errors: EINVAL: not such a handle, or a timeout below -1; ETIMEDOUT: requests or the storage were not done in time;
 * EIO, ENOSPC and others of the files: a flush failed; EBUSY: it is being detached, or another command is not done;
 * ESRCH: the device has ended; EDEADLK: called from a callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_suspend (qcow2blk_device *device, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_SUSPEND 1

/**
 * qcow2blk_device_resume - open the image again, as it is now, and continue
 *
 * flags: QCOW2BLK_ALLOW_SHRINK. timeout is how long it may wait for its turn and for locks; -1 is 30 seconds.
 *
 * Returns: 0, or a negative errno, and the device stays suspended
 * Errors: as qcow2blk_image_open(); ERANGE: the disk has become smaller, see QCOW2BLK_ALLOW_SHRINK; ESRCH: the device
 * has ended; EDEADLK: called from a callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_resume (qcow2blk_device *device, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_RESUME 1

/* Of a detach: take the device from its users, and lose what cannot be written. */
#define QCOW2BLK_FORCE 1U

/**
 * qcow2blk_device_detach - flush and end the device
 *
 * flags: QCOW2BLK_FORCE. timeout is how long requests in progress may take; -1 is 30 seconds. The handle stays, for
 * qcow2blk_device_close(). If an NBD server of this process is ended by force while the storage does not answer, its
 * threads and its image lock stay until the process ends.
 *
 * Returns: 0, or a negative errno, and the device goes on
 * Errors: EINVAL: not such a handle, or a timeout below -1; EBUSY: the block device is in use, or another command is
 * not done; ETIMEDOUT: requests or the storage were not done in time; EIO, ENOSPC and others of the files: a flush
 * failed; ESRCH: the device has ended; EDEADLK: called from a callback
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_detach (qcow2blk_device *device, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_DETACH 1

/* Kinds of events. */
#define QCOW2BLK_EVENT_STATE 1    /* state has changed, by whomever */
#define QCOW2BLK_EVENT_NO_SPACE 2 /* requests wait for space (option "on-enospc"); value is how many, 0 at the end */
#define QCOW2BLK_EVENT_ERROR 3    /* something failed that no request could be told of */
#define QCOW2BLK_EVENT_CORRUPT 4  /* the image takes no more writes: it is damaged, or a flush failed */
#define QCOW2BLK_EVENT_SERVER 5   /* another process serves the device now; value is its process ID. 0 while there is
                                    none: state is the last that was known, qcow2blk_device_state() gives -EBUSY */

/* What happened to a device. The message is valid during the callback, and may be empty. */
struct qcow2blk_device_event {
  uint32_t size;  /* of what the library has filled in */
  uint32_t kind;  /* QCOW2BLK_EVENT_* */
  int32_t state;  /* QCOW2BLK_STATE_* at that time */
  int32_t value;  /* see the kinds */
  const char *message;
};

/* It is called on a thread of the library, one event at a time for a device. */
typedef void qcow2blk_event_fn (void *user_data, const struct qcow2blk_device_event *event);

/**
 * qcow2blk_device_set_event_callback - hear what happens to a device
 *
 * NULL as callback ends it; when that returns, the former callback is not running and will not be called again. The
 * first event tells the state at the time of the call.
 *
 * Returns: 0 or a negative errno
 * Errors: EINVAL: not such a handle; EDEADLK: called from the callback
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_set_event_callback (qcow2blk_device *device, qcow2blk_event_fn *callback,
                                                     void *user_data, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_SET_EVENT_CALLBACK 1

/**
 * qcow2blk_device_close - let go of a device
 *
 * What this process has attached by this handle is detached first, by force if it does not end within 20 seconds. A
 * device that has a process of its own goes on. Its events end first, so none tells of this detach. The handle is
 * invalid afterwards, unless the result is -EINVAL or -EDEADLK.
 *
 * Returns: 0, or a negative errno if data may be lost
 * Errors: EINVAL: not such a handle; EDEADLK: called from a callback; EIO, ENOSPC, ETIMEDOUT: see
 * qcow2blk_device_detach()
 * Threads: any
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_close (qcow2blk_device *device, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_CLOSE 1

/* ---------------------------------------------------------------- size, snapshots, bitmaps and checkpoints of a device
 *
 * As those of an image, carried out by the server of the device, whichever process that is. Its users wait meanwhile.
 * timeout is how long requests in progress may take; -1 is 30 seconds. Beside the errors of the functions of images
 * these give: EINVAL: a timeout below -1; ETIMEDOUT: requests or the storage were not done in time; EBUSY: it is
 * suspended or being detached, or another command is not done; ESRCH: the device has ended.
 */

/* Of a device that is made smaller: also if it has users, who lose its end. */
#define QCOW2BLK_FORCE_SHRINK 2U

/**
 * qcow2blk_device_resize - give the disk of a device another size
 *
 * A block device tells its users of the new size; NBD clients learn it when they connect again. flags:
 * QCOW2BLK_ALLOW_SHRINK, and with it QCOW2BLK_FORCE_SHRINK.
 *
 * Returns: 0 or a negative errno; if the image cannot be opened again the device stays suspended
 * Errors: as qcow2blk_image_resize(), and those of all devices; EBUSY: it would become smaller and has users, see
 * QCOW2BLK_FORCE_SHRINK
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_resize (qcow2blk_device *device, uint64_t size, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_RESIZE 1

/**
 * qcow2blk_device_list_snapshots - tell of the internal snapshots of a device
 *
 * Returns: 0, what the callback returned to end the list, or a negative errno
 * Errors: as qcow2blk_image_list_snapshots(), and those of all devices
 * Threads: any, but not from a callback of the library
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_list_snapshots (qcow2blk_device *device, qcow2blk_snapshot_fn *callback,
                                                 void *user_data, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_LIST_SNAPSHOTS 1

/**
 * qcow2blk_device_create_snapshot - keep the disk of a device as it is now
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_create_snapshot(), and those of all devices
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_create_snapshot (qcow2blk_device *device, const char *name, char *id, size_t size,
                                                  int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_CREATE_SNAPSHOT 1

/**
 * qcow2blk_device_delete_snapshot - forget a snapshot of a device
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_delete_snapshot(), and those of all devices
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_delete_snapshot (qcow2blk_device *device, const char *snapshot, int timeout,
                                                  uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_DELETE_SNAPSHOT 1

/**
 * qcow2blk_device_revert_snapshot - make the disk of a device what it was when a snapshot was made
 *
 * Its users see other contents at once, and a file system that is mounted breaks: flags must have QCOW2BLK_FORCE, to
 * say that this is meant.
 *
 * Returns: 0 or a negative errno; if the image cannot be opened again the device stays suspended
 * Errors: as qcow2blk_image_revert_snapshot(), and those of all devices; EBUSY: without QCOW2BLK_FORCE
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_revert_snapshot (qcow2blk_device *device, const char *snapshot, int timeout,
                                                  uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_REVERT_SNAPSHOT 1

/**
 * qcow2blk_device_list_bitmaps - tell of the persistent bitmaps of a device
 *
 * Returns: 0, what the callback returned to end the list, or a negative errno
 * Errors: as qcow2blk_image_list_bitmaps(), and those of all devices
 * Threads: any, but not from a callback of the library
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_list_bitmaps (qcow2blk_device *device, qcow2blk_bitmap_fn *callback, void *user_data,
                                               int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_LIST_BITMAPS 1

/**
 * qcow2blk_device_add_bitmap - add a persistent bitmap to the image of a device
 *
 * flags: QCOW2BLK_BITMAP_DISABLED.
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_add_bitmap(), and those of all devices
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_add_bitmap (qcow2blk_device *device, const char *name, uint64_t granularity,
                                             int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_ADD_BITMAP 1

/**
 * qcow2blk_device_remove_bitmap - remove a bitmap of a device
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_remove_bitmap(), and those of all devices; EBUSY: NBD clients look at it
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_remove_bitmap (qcow2blk_device *device, const char *name, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_REMOVE_BITMAP 1

/**
 * qcow2blk_device_clear_bitmap - clear every bit of a bitmap of a device
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_clear_bitmap(), and those of all devices; EBUSY: NBD clients look at it
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_clear_bitmap (qcow2blk_device *device, const char *name, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_CLEAR_BITMAP 1

/**
 * qcow2blk_device_enable_bitmap - have a bitmap of a device record from now on
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_enable_bitmap(), and those of all devices; EBUSY: NBD clients look at it
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_enable_bitmap (qcow2blk_device *device, const char *name, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_ENABLE_BITMAP 1

/**
 * qcow2blk_device_disable_bitmap - have a bitmap of a device stay as it is now
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_disable_bitmap(), and those of all devices; EBUSY: NBD clients look at it
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_disable_bitmap (qcow2blk_device *device, const char *name, int timeout,
                                                 uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_DISABLE_BITMAP 1

/**
 * qcow2blk_device_merge_bitmap - add the bits of one bitmap of a device to another
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_merge_bitmap(), and those of all devices; EBUSY: NBD clients look at the first
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_merge_bitmap (qcow2blk_device *device, const char *name, const char *from, int timeout,
                                               uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_MERGE_BITMAP 1

/**
 * qcow2blk_device_list_checkpoints - tell of the checkpoints of a device, the oldest first
 *
 * Returns: 0, what the callback returned to end the list, or a negative errno
 * Errors: as qcow2blk_image_list_checkpoints(), and those of all devices
 * Threads: any, but not from a callback of the library
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_list_checkpoints (qcow2blk_device *device, qcow2blk_checkpoint_fn *callback,
                                                   void *user_data, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_LIST_CHECKPOINTS 1

/**
 * qcow2blk_devices_create_checkpoint - make a checkpoint of one or several devices, of one instant
 *
 * devices is an array of count handles, which may be of different processes. The requests of all wait, then each gets
 * a checkpoint of that name, then all go on: of writes that follow each other, on whichever of them, none is in the
 * checkpoint without those before it. It is made of all or of none; if it cannot be taken back from one,
 * qcow2blk_last_error() says so. granularity is as for qcow2blk_image_create_checkpoint().
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_create_checkpoint(), and those of all devices; EINVAL: devices is NULL, or count is 0
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_devices_create_checkpoint (qcow2blk_device *const *devices, size_t count, const char *name,
                                                     uint64_t granularity, int timeout, uint32_t flags);
#define QCOW2BLK_HAVE_DEVICES_CREATE_CHECKPOINT 1

/**
 * qcow2blk_device_delete_checkpoint - forget a checkpoint of a device
 *
 * Returns: 0 or a negative errno
 * Errors: as qcow2blk_image_delete_checkpoint(), and those of all devices; EBUSY: also if NBD clients look at its
 * bitmap or at the one before
 * Threads: any, but not from a callback
 * Since: 0.1
 */
QCOW2BLK_API int qcow2blk_device_delete_checkpoint (qcow2blk_device *device, const char *name, int timeout,
                                                    uint32_t flags);
#define QCOW2BLK_HAVE_DEVICE_DELETE_CHECKPOINT 1

#ifdef __cplusplus
}
#endif

#endif /* QCOW2BLK_H */
