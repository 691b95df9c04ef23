# SPDX-License-Identifier: MIT
"""QCOW2 disk images in your own process, with the engine of the qcow2blk command.

    with qcow2blk.Image("disk.qcow2") as image:
        print(image.size, image.pread(512, 0))

It calls libqcow2blk.so; what each function does, and its errors, is said in qcow2blk.h. Results below zero are raised as
qcow2blk.Error, an OSError with the errno. Any thread may use any object. Calls that wait let other threads of Python run.
"""

import ctypes
import errno as _errno
import itertools
import json
import os
from collections import namedtuple
from ctypes import (CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_ssize_t, c_uint32,
                    c_uint64, c_void_p, py_object)

OPEN_READ_ONLY, OPEN_CALLER_LOOP = 1, 2
FUA, NO_HOLE, FAST_ZERO = 1, 2, 4
EXTENT_HOLE, EXTENT_ZERO, EXTENT_DIRTY = 1, 2, 4
BITMAP_DISABLED, BITMAP_RECORDS, BITMAP_INCONSISTENT, BITMAP_EXPORTED = 1, 2, 4, 8
CREATE_REPLACE = 1
CHECK_CLEAN, CHECK_INCOMPLETE, CHECK_CORRUPT, CHECK_LEAKING = range(4)
CHECK_REPAIR_LEAKS, CHECK_REPAIR_ALL, CHECK_IGNORE_LOCKS = 1, 2, 4
CHECK_PROGRESS, CHECK_LEAK, CHECK_ERROR, CHECK_STOPPED = range(4)
_ID_SIZE = 24
STATE_RUNNING, STATE_SUSPENDING, STATE_SUSPENDED, STATE_DETACHING, STATE_FAILED, STATE_ENDED = range(6)
ALLOW_SHRINK, FORCE, FORCE_SHRINK = 1, 1, 2
EVENT_STATE, EVENT_NO_SPACE, EVENT_ERROR, EVENT_CORRUPT, EVENT_SERVER = range(1, 6)
LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG = range(4)

Extent = namedtuple("Extent", "offset length flags depth")
Snapshot = namedtuple("Snapshot", "id name date vm_clock vm_state_size disk_size")
Bitmap = namedtuple("Bitmap", "name granularity dirty_bytes flags")
Checkpoint = namedtuple("Checkpoint", "name snapshot_id date granularity dirty_bytes flags")
Event = namedtuple("Event", "kind state value message")
_COUNTS = ("check_errors corruptions leaks corruptions_fixed leaks_fixed image_end_offset total_clusters allocated_clusters"
           " fragmented_clusters compressed_clusters")
CheckResult = namedtuple("CheckResult", "verdict " + _COUNTS)


class Error(OSError):
    """What a function of the library refused or failed to do."""


class Completion(namedtuple("Completion", "user_data result")):
    """The end of a request."""

    def check(self):
        """The result, or the error that it means."""
        if isinstance(self.result, int) and self.result < 0:
            raise Error(-self.result, os.strerror(-self.result))
        return self.result


# ---------------------------------------------------------------- the C interface

class _Extent(Structure):
    _fields_ = [("offset", c_uint64), ("length", c_uint64), ("flags", c_uint32), ("depth", c_uint32)]


class _Snapshot(Structure):
    _fields_ = [("size", c_uint32), ("date_nanoseconds", c_uint32), ("id", c_char_p), ("name", c_char_p),
                ("date_seconds", c_int64), ("vm_clock", c_uint64), ("vm_state_size", c_uint64), ("disk_size", c_uint64)]


class _Bitmap(Structure):
    _fields_ = [("size", c_uint32), ("flags", c_uint32), ("name", c_char_p), ("granularity", c_uint64), ("dirty_bytes", c_int64)]


class _Checkpoint(Structure):
    _fields_ = [("size", c_uint32), ("flags", c_uint32), ("name", c_char_p), ("snapshot_id", c_char_p), ("date_seconds", c_int64),
                ("date_nanoseconds", c_uint32), ("reserved", c_uint32), ("granularity", c_uint64), ("dirty_bytes", c_int64)]


class _CheckResult(Structure):
    _fields_ = [("size", c_uint32), ("reserved", c_uint32), *((name, c_int64) for name in _COUNTS.split())]


class _Notify(Structure):
    _fields_ = [("size", c_uint32), ("reserved", c_uint32), ("queue", c_void_p), ("callback", c_void_p),
                ("user_data", c_void_p)]


class _Completion(Structure):
    _fields_ = [("user_data", c_void_p), ("result", c_int64)]


class _Event(Structure):
    _fields_ = [("size", c_uint32), ("kind", c_uint32), ("state", c_int32), ("value", c_int32), ("message", c_char_p)]


class _IoVec(Structure):
    _fields_ = [("base", c_void_p), ("length", c_size_t)]


class _PyBuffer(Structure):
    _fields_ = [("buf", c_void_p), ("obj", py_object), ("len", c_ssize_t), ("itemsize", c_ssize_t), ("readonly", c_int),
                ("ndim", c_int), ("format", c_char_p), ("shape", c_void_p), ("strides", c_void_p), ("suboffsets", c_void_p),
                ("internal", c_void_p)]


_ExtentFn = CFUNCTYPE(c_int, c_void_p, POINTER(_Extent))
_SnapshotFn = CFUNCTYPE(c_int, c_void_p, POINTER(_Snapshot))
_BitmapFn = CFUNCTYPE(c_int, c_void_p, POINTER(_Bitmap))
_CheckpointFn = CFUNCTYPE(c_int, c_void_p, POINTER(_Checkpoint))
_CheckFn = CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_double)
_CompletionFn = CFUNCTYPE(None, c_void_p, c_int64)
_EventFn = CFUNCTYPE(None, c_void_p, POINTER(_Event))
_LogFn = CFUNCTYPE(None, c_void_p, c_int, c_char_p)

_lib = ctypes.CDLL("libqcow2blk.so.0")
_pointer, _range, _notify, _vector = c_void_p, [c_uint64, c_uint64], POINTER(_Notify), [POINTER(_IoVec), c_int]


def _declare(result, parameters, *functions):
    for function in functions:
        function.restype, function.argtypes = result, parameters


_declare(c_uint32, [], _lib.qcow2blk_version)
_declare(c_int, [c_char_p, c_uint32], _lib.qcow2blk_has_feature)
_declare(c_char_p, [], _lib.qcow2blk_last_error)
_declare(c_int, [], _lib.qcow2blk_last_errno)
_declare(c_int, [c_void_p, _pointer, c_int, c_uint32], _lib.qcow2blk_set_log)
_declare(c_int, [POINTER(_pointer), c_uint32], _lib.qcow2blk_options_create)
_declare(c_int, [_pointer, c_char_p, c_char_p, c_uint32], _lib.qcow2blk_options_set)
_declare(c_int, [_pointer, c_int, c_uint32], _lib.qcow2blk_options_add_fd)
_declare(c_int, [_pointer, c_char_p, c_size_t, c_uint32], _lib.qcow2blk_options_set_key)
_declare(c_int, [c_char_p, c_int64, _pointer, c_uint32], _lib.qcow2blk_create)
_declare(c_int, [c_char_p, POINTER(_CheckResult), _CheckFn, _pointer, c_uint32], _lib.qcow2blk_check)
_declare(c_int, [c_char_p, _pointer, POINTER(_pointer), c_uint32], _lib.qcow2blk_image_open, _lib.qcow2blk_device_attach)
_declare(c_int, [c_char_p, POINTER(_pointer), c_uint32], _lib.qcow2blk_device_open)
_declare(c_int64, [_pointer], _lib.qcow2blk_image_size, _lib.qcow2blk_image_cluster_size)
_declare(c_int, [_pointer], _lib.qcow2blk_image_is_read_only, _lib.qcow2blk_image_format_version,
         _lib.qcow2blk_image_in_flight, _lib.qcow2blk_image_fd, _lib.qcow2blk_queue_fd)
_declare(c_int, [_pointer, c_uint32], _lib.qcow2blk_image_close, _lib.qcow2blk_image_flush, _lib.qcow2blk_image_process,
         _lib.qcow2blk_options_close, _lib.qcow2blk_queue_close, _lib.qcow2blk_device_close, _lib.qcow2blk_device_state)
_declare(c_ssize_t, [_pointer, c_void_p, c_size_t], _lib.qcow2blk_image_backing_file, _lib.qcow2blk_device_name,
         _lib.qcow2blk_device_uri, _lib.qcow2blk_device_path)
_declare(c_ssize_t, [_pointer, c_void_p, c_size_t, c_uint32], _lib.qcow2blk_image_info, _lib.qcow2blk_device_status)
_declare(c_int, [_pointer, _SnapshotFn, _pointer, c_uint32], _lib.qcow2blk_image_list_snapshots)
_declare(c_ssize_t, [_pointer, c_void_p, c_size_t, c_uint64, c_uint32], _lib.qcow2blk_image_pread, _lib.qcow2blk_image_pwrite)
_declare(c_ssize_t, [_pointer, *_vector, c_uint64, c_uint32], _lib.qcow2blk_image_preadv, _lib.qcow2blk_image_pwritev)
_declare(c_int, [_pointer, *_range, c_uint32], _lib.qcow2blk_image_discard, _lib.qcow2blk_image_write_zeroes)
_declare(c_int, [_pointer, *_range, _ExtentFn, _pointer, c_uint32], _lib.qcow2blk_image_block_status)
_declare(c_int, [_pointer, c_uint64, c_uint32], _lib.qcow2blk_image_resize)
_declare(c_int, [_pointer, c_uint64, c_int, c_uint32], _lib.qcow2blk_device_resize)
_declare(c_int, [_pointer, c_char_p, c_char_p, c_size_t, c_uint32], _lib.qcow2blk_image_create_snapshot)
_declare(c_int, [_pointer, c_char_p, c_uint32], _lib.qcow2blk_image_delete_snapshot, _lib.qcow2blk_image_revert_snapshot,
         _lib.qcow2blk_image_remove_bitmap, _lib.qcow2blk_image_clear_bitmap, _lib.qcow2blk_image_enable_bitmap,
         _lib.qcow2blk_image_disable_bitmap, _lib.qcow2blk_image_delete_checkpoint)
_declare(c_int, [_pointer, c_char_p, c_uint64, c_uint32], _lib.qcow2blk_image_add_bitmap, _lib.qcow2blk_image_create_checkpoint)
_declare(c_int, [_pointer, _CheckpointFn, _pointer, c_uint32], _lib.qcow2blk_image_list_checkpoints)
_declare(c_int, [POINTER(_pointer), c_size_t, c_char_p, c_uint64, c_int, c_uint32], _lib.qcow2blk_devices_create_checkpoint)
_declare(c_int, [_pointer, _CheckpointFn, _pointer, c_int, c_uint32], _lib.qcow2blk_device_list_checkpoints)
_declare(c_int, [_pointer, c_char_p, c_char_p, c_uint32], _lib.qcow2blk_image_merge_bitmap)
_declare(c_int, [_pointer, _BitmapFn, _pointer, c_uint32], _lib.qcow2blk_image_list_bitmaps)
_declare(c_int, [_pointer, c_char_p, *_range, _ExtentFn, _pointer, c_uint32], _lib.qcow2blk_image_bitmap_status)
_declare(c_int, [_pointer, _SnapshotFn, _pointer, c_int, c_uint32], _lib.qcow2blk_device_list_snapshots)
_declare(c_int, [_pointer, c_char_p, c_char_p, c_size_t, c_int, c_uint32], _lib.qcow2blk_device_create_snapshot)
_declare(c_int, [_pointer, c_char_p, c_int, c_uint32], _lib.qcow2blk_device_delete_snapshot,
         _lib.qcow2blk_device_revert_snapshot, _lib.qcow2blk_device_remove_bitmap, _lib.qcow2blk_device_clear_bitmap,
         _lib.qcow2blk_device_enable_bitmap, _lib.qcow2blk_device_disable_bitmap, _lib.qcow2blk_device_delete_checkpoint)
_declare(c_int, [_pointer, c_char_p, c_uint64, c_int, c_uint32], _lib.qcow2blk_device_add_bitmap)
_declare(c_int, [_pointer, c_char_p, c_char_p, c_int, c_uint32], _lib.qcow2blk_device_merge_bitmap)
_declare(c_int, [_pointer, _BitmapFn, _pointer, c_int, c_uint32], _lib.qcow2blk_device_list_bitmaps)
_declare(c_int, [POINTER(_pointer), c_uint32, c_uint32], _lib.qcow2blk_queue_create)
_declare(c_int, [_pointer, POINTER(_Completion), c_uint32, c_int, c_uint32], _lib.qcow2blk_queue_wait)
_declare(c_int, [_pointer, c_void_p, c_size_t, c_uint64, _notify, c_uint32], _lib.qcow2blk_image_aio_pread,
         _lib.qcow2blk_image_aio_pwrite)
_declare(c_int, [_pointer, *_vector, c_uint64, _notify, c_uint32], _lib.qcow2blk_image_aio_preadv,
         _lib.qcow2blk_image_aio_pwritev)
_declare(c_int, [_pointer, _notify, c_uint32], _lib.qcow2blk_image_aio_flush)
_declare(c_int, [_pointer, *_range, _notify, c_uint32], _lib.qcow2blk_image_aio_discard,
         _lib.qcow2blk_image_aio_write_zeroes)
_declare(c_int, [_pointer, *_range, POINTER(_Extent), c_uint32, _notify, c_uint32], _lib.qcow2blk_image_aio_block_status)
_declare(c_int, [_pointer, c_int, c_uint32], _lib.qcow2blk_device_suspend, _lib.qcow2blk_device_resume,
         _lib.qcow2blk_device_detach)
_declare(c_int, [_pointer, c_void_p, _pointer, c_uint32], _lib.qcow2blk_device_set_event_callback)
_declare(c_int, [py_object, POINTER(_PyBuffer), c_int], ctypes.pythonapi.PyObject_GetBuffer)
_declare(None, [POINTER(_PyBuffer)], ctypes.pythonapi.PyBuffer_Release)


def _check(result):
    """The result of a call, or the error that it means."""
    if result >= 0:
        return result
    raise Error(-result, last_error()[1])


def _text(function, handle, *flags):
    """A string of the library, of whatever length: it may have grown between two calls."""
    size = 256
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = _check(function(handle, buffer, size, *flags))
        if length < size:
            return buffer.value.decode()
        size = length + 1


class _Buffer:
    """The memory of an object with the buffer protocol, held until release: it can neither move nor go."""

    def __init__(self, source, writable):
        self._view = _PyBuffer()
        ctypes.pythonapi.PyObject_GetBuffer(source, byref(self._view), 1 if writable else 0)  # contiguous
        self.address, self.length = self._view.buf, self._view.len

    def release(self):
        if self._view is not None:
            ctypes.pythonapi.PyBuffer_Release(byref(self._view))
            self._view = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.release()


class _Vector:
    """Several buffers, as an array of struct iovec."""

    def __init__(self, sources, writable):
        self._buffers = []
        try:
            for source in sources:
                self._buffers.append(_Buffer(source, writable))
        except BaseException:
            self.release()
            raise
        self.count = len(self._buffers)
        self.array = (_IoVec * self.count)(*[(buffer.address, buffer.length) for buffer in self._buffers])

    def release(self):
        for buffer in self._buffers:
            buffer.release()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.release()


# ---------------------------------------------------------------- the library itself

def version():
    """Of the library that is loaded, as (major, minor, patch)."""
    number = _lib.qcow2blk_version()
    return number >> 16, number >> 8 & 255, number & 255


def last_error():
    """The errno and the text of the last call of this thread that failed; (0, "") if none has."""
    return _lib.qcow2blk_last_errno(), _lib.qcow2blk_last_error().decode()


def has_feature(name):
    """Whether the library can do something on this machine: "io_uring", "ublk", "nbd", "deflate", "zstd"."""
    return bool(_check(_lib.qcow2blk_has_feature(name.encode(), 0)))


_log = None  # the callback that the library holds


def set_log(callback, level=LOG_WARNING):
    """Has callback(level, message) hear what no result tells, on any thread; None ends it. It must not call the library."""
    global _log
    thunk = None if callback is None else _LogFn(lambda _, level, message: callback(level, message.decode()))
    _check(_lib.qcow2blk_set_log(thunk, None, level, 0))
    _log = thunk


class _Handle:
    """What has to be closed: by close(), at the end of a with statement, or when it is collected."""

    _handle = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __del__(self):
        try:
            self.close()
        except Error:
            pass

    def close(self):
        """Ends it; a second time does nothing. An error says that data may be lost."""
        if self._handle is None:
            return
        result = self._end(self._handle, 0)
        if result not in (-_errno.EDEADLK, -_errno.EPERM, -_errno.EBUSY):  # refused here and now: it is still open
            self._handle = None
        _check(result)


def _option(value):
    """An option's value as text: True, 4096, "64M" or a path."""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return os.fsencode(str(value) if isinstance(value, int) else value)


class _Options(_Handle):
    _end = staticmethod(_lib.qcow2blk_options_close)

    def __init__(self, options, fds=(), key=None):
        handle = _pointer()
        _check(_lib.qcow2blk_options_create(byref(handle), 0))
        self._handle = handle.value
        try:
            if key is not None:
                _check(_lib.qcow2blk_options_set_key(self._handle, bytes(key), len(key), 0))
            for name, values in options.items():
                for value in values if isinstance(values, (list, tuple)) else [values]:
                    _check(_lib.qcow2blk_options_set(self._handle, name.replace("_", "-").encode(), _option(value), 0))
            for fd in fds:
                _check(_lib.qcow2blk_options_add_fd(self._handle, fd, 0))
        except BaseException:
            self.close()
            raise


# ---------------------------------------------------------------- image files

def create(path, size=None, key=None, replace=False, **options):
    """Makes an image of size bytes; of the size of its backing file if that is None.

    Options are those after "-o" of "qcow2blk create": cluster_size="2M", or **{"encrypt.format": "luks"} with a key as bytes.
    """
    chosen = _Options({}, key=key)
    with chosen:
        for name, value in options.items():
            _check(_lib.qcow2blk_options_set(chosen._handle, name.encode(), _option(value), 0))
        _check(_lib.qcow2blk_create(os.fsencode(path), -1 if size is None else size, chosen._handle,
                                    CREATE_REPLACE if replace else 0))


def check(path, callback=None, flags=0):
    """A CheckResult: its verdict is CHECK_CLEAN, CHECK_INCOMPLETE, CHECK_CORRUPT or CHECK_LEAKING.

    callback(kind, message, done) hears progress and findings. flags: CHECK_REPAIR_LEAKS, CHECK_REPAIR_ALL, CHECK_IGNORE_LOCKS.
    """
    result = _CheckResult(size=ctypes.sizeof(_CheckResult))
    thunk = _CheckFn() if callback is None else _CheckFn(lambda _, kind, message, done: callback(kind, message.decode(), done))
    verdict = _check(_lib.qcow2blk_check(os.fsencode(path), byref(result), thunk, None, flags))
    return CheckResult(verdict, *(getattr(result, name) for name in _COUNTS.split()))


# ---------------------------------------------------------------- asynchronous requests

_requests = {}  # what is in flight, by the number that the library gives back: so that it stays alive
_numbers = itertools.count(1)


class _Request:
    def __init__(self, memory, queue, callback, user_data):
        if (queue is None) == (callback is None):
            raise ValueError("either queue or callback")
        self.memory, self.queue, self.callback, self.user_data = memory, queue, callback, user_data


def _complete(number, result):
    request = _requests.pop(number)
    if request.memory is not None:
        result = request.memory.finished(result) if isinstance(request.memory, _ExtentArray) else result
        request.memory.release()
    return request, result


@_CompletionFn
def _on_completion(number, result):
    request, result = _complete(number, result)
    request.callback(request.user_data, result)


def _submit(function, *arguments, memory=None, queue, callback, user_data, flags=0):
    try:
        request = _Request(memory, queue, callback, user_data)
        number = next(_numbers)
        thunk = None if callback is None else ctypes.cast(_on_completion, c_void_p)
        notify = _Notify(ctypes.sizeof(_Notify), 0, None if queue is None else queue._handle, thunk, number)
        _requests[number] = request
        try:
            _check(function(*arguments, byref(notify), flags))
        except BaseException:
            del _requests[number]
            raise
    except BaseException:
        if memory is not None:
            memory.release()
        raise


class _ExtentArray:
    def __init__(self, count):
        self.array = (_Extent * count)()

    def finished(self, count):
        return count if count < 0 else [_extent(extent) for extent in self.array[:count]]

    def release(self):
        pass


def _extent(extent):
    return Extent(extent.offset, extent.length, extent.flags, extent.depth)


class Queue(_Handle):
    """Where completions wait; fileno() is readable while there are any, so that it fits select, asyncio and the like."""

    _end = staticmethod(_lib.qcow2blk_queue_close)

    def __init__(self, depth=128):
        handle = _pointer()
        _check(_lib.qcow2blk_queue_create(byref(handle), depth, 0))
        self._handle = handle.value

    def fileno(self):
        return _check(_lib.qcow2blk_queue_fd(self._handle))

    def wait(self, max=128, timeout=-1):
        """At least one Completion(user_data, result) within timeout milliseconds (-1: however long), or an empty list."""
        completions = (_Completion * max)()
        count = _check(_lib.qcow2blk_queue_wait(self._handle, completions, max, timeout, 0))
        done = [_complete(completion.user_data, completion.result) for completion in completions[:count]]
        return [Completion(request.user_data, result) for request, result in done]

    def close(self):
        """Drops completions that wait. An Error with EBUSY: there are requests in flight, and the queue stays."""
        super().close()
        for number in [number for number, request in list(_requests.items()) if request.queue is self]:
            _complete(number, -_errno.ECANCELED)


class _Editable(_Handle):
    """What can be done with snapshots and bitmaps of an image and of a device: the functions differ by their names and, of a
    device, by a timeout in milliseconds."""

    def _edit(self, function, *arguments, timeout, flags=0):
        return _check(function(self._handle, *arguments, *self._time(timeout), flags))

    def snapshots(self, timeout=None):
        """The internal snapshots."""
        found = []

        @_SnapshotFn
        def collect(_, pointer):
            snapshot = pointer.contents
            date = snapshot.date_seconds + snapshot.date_nanoseconds / 1e9
            found.append(Snapshot(snapshot.id.decode(), snapshot.name.decode(), date, snapshot.vm_clock,
                                  snapshot.vm_state_size, snapshot.disk_size))
            return 0

        self._edit(self._list_snapshots, collect, None, timeout=timeout)
        return found

    def resize(self, size, flags=0, timeout=None):
        """flags: ALLOW_SHRINK; of a device that has users with FORCE_SHRINK."""
        self._edit(self._resize, size, timeout=timeout, flags=flags)

    def create_snapshot(self, name, timeout=None):
        """Keeps the disk as it is now. The ID of the snapshot, which is unique."""
        identity = ctypes.create_string_buffer(_ID_SIZE)
        self._edit(self._create_snapshot, name.encode(), identity, _ID_SIZE, timeout=timeout)
        return identity.value.decode()

    def delete_snapshot(self, snapshot, timeout=None):
        self._edit(self._delete_snapshot, snapshot.encode(), timeout=timeout)

    def bitmaps(self, timeout=None):
        """The persistent bitmaps, as Bitmap(name, granularity, dirty_bytes, flags); dirty_bytes is None if nobody can tell."""
        found = []

        @_BitmapFn
        def collect(_, pointer):
            bitmap = pointer.contents
            dirty = None if bitmap.dirty_bytes < 0 else bitmap.dirty_bytes
            found.append(Bitmap(bitmap.name.decode(), bitmap.granularity, dirty, bitmap.flags))
            return 0

        self._edit(self._list_bitmaps, collect, None, timeout=timeout)
        return found

    def add_bitmap(self, name, granularity=0, flags=0, timeout=None):
        """It records from now on, unless flags is BITMAP_DISABLED."""
        self._edit(self._add_bitmap, name.encode(), granularity, timeout=timeout, flags=flags)

    def remove_bitmap(self, name, timeout=None):
        self._edit(self._remove_bitmap, name.encode(), timeout=timeout)

    def clear_bitmap(self, name, timeout=None):
        self._edit(self._clear_bitmap, name.encode(), timeout=timeout)

    def enable_bitmap(self, name, timeout=None):
        self._edit(self._enable_bitmap, name.encode(), timeout=timeout)

    def disable_bitmap(self, name, timeout=None):
        self._edit(self._disable_bitmap, name.encode(), timeout=timeout)

    def merge_bitmap(self, name, source, timeout=None):
        """Adds the bits of source to name."""
        self._edit(self._merge_bitmap, name.encode(), source.encode(), timeout=timeout)

    def checkpoints(self, timeout=None):
        """The oldest first, as Checkpoint; dirty_bytes changed up to the next one, and are None if nobody can tell."""
        found = []

        @_CheckpointFn
        def collect(_, pointer):
            checkpoint = pointer.contents
            date = checkpoint.date_seconds + checkpoint.date_nanoseconds / 1e9
            dirty = None if checkpoint.dirty_bytes < 0 else checkpoint.dirty_bytes
            found.append(Checkpoint(checkpoint.name.decode(), checkpoint.snapshot_id.decode(), date, checkpoint.granularity,
                                    dirty, checkpoint.flags))
            return 0

        self._edit(self._list_checkpoints, collect, None, timeout=timeout)
        return found

    def delete_checkpoint(self, name, timeout=None):
        """What changed since is added to the checkpoint before."""
        self._edit(self._delete_checkpoint, name.encode(), timeout=timeout)


class Image(_Editable):
    """An open image. Options have the names of "qcow2blk attach", with underscores: cache_size="64M", snapshot="monday".

    path may be None if fds has a descriptor for each file of the backing chain, the image first. key is that of an encrypted
    image, as bytes. Snapshots and bitmaps can be changed while others use the image: their requests wait.
    """

    _end = staticmethod(_lib.qcow2blk_image_close)
    _resize = staticmethod(_lib.qcow2blk_image_resize)
    _list_snapshots = staticmethod(_lib.qcow2blk_image_list_snapshots)
    _create_snapshot = staticmethod(_lib.qcow2blk_image_create_snapshot)
    _delete_snapshot = staticmethod(_lib.qcow2blk_image_delete_snapshot)
    _revert_snapshot = staticmethod(_lib.qcow2blk_image_revert_snapshot)
    _list_bitmaps = staticmethod(_lib.qcow2blk_image_list_bitmaps)
    _add_bitmap = staticmethod(_lib.qcow2blk_image_add_bitmap)
    _remove_bitmap = staticmethod(_lib.qcow2blk_image_remove_bitmap)
    _clear_bitmap = staticmethod(_lib.qcow2blk_image_clear_bitmap)
    _enable_bitmap = staticmethod(_lib.qcow2blk_image_enable_bitmap)
    _disable_bitmap = staticmethod(_lib.qcow2blk_image_disable_bitmap)
    _merge_bitmap = staticmethod(_lib.qcow2blk_image_merge_bitmap)
    _list_checkpoints = staticmethod(_lib.qcow2blk_image_list_checkpoints)
    _delete_checkpoint = staticmethod(_lib.qcow2blk_image_delete_checkpoint)
    _time = staticmethod(lambda timeout: ())

    def __init__(self, path, read_only=False, caller_loop=False, fds=(), key=None, **options):
        handle = _pointer()
        flags = (OPEN_READ_ONLY if read_only else 0) | (OPEN_CALLER_LOOP if caller_loop else 0)
        with _Options(options, fds, key) as chosen:
            _check(_lib.qcow2blk_image_open(None if path is None else os.fsencode(path), chosen._handle, byref(handle), flags))
        self._handle = handle.value

    size = property(lambda self: _check(_lib.qcow2blk_image_size(self._handle)), doc="bytes of the virtual disk")
    cluster_size = property(lambda self: _check(_lib.qcow2blk_image_cluster_size(self._handle)))
    read_only = property(lambda self: bool(_check(_lib.qcow2blk_image_is_read_only(self._handle))))
    format_version = property(lambda self: _check(_lib.qcow2blk_image_format_version(self._handle)), doc="2, 3; 0 for raw")
    backing_file = property(lambda self: _text(_lib.qcow2blk_image_backing_file, self._handle), doc="empty if there is none")
    in_flight = property(lambda self: _check(_lib.qcow2blk_image_in_flight(self._handle)), doc="requests that have not ended")

    def info(self):
        """All that is known of it, as in json.md."""
        return json.loads(_text(_lib.qcow2blk_image_info, self._handle, 0))

    def revert_snapshot(self, snapshot):
        """Makes the disk what it was then."""
        self._edit(self._revert_snapshot, snapshot.encode(), timeout=None)

    def create_checkpoint(self, name, granularity=0):
        """Keeps the disk as it is now in a snapshot, and has a bitmap of that name record what changes from now on."""
        _check(_lib.qcow2blk_image_create_checkpoint(self._handle, name.encode(), granularity, 0))

    def bitmap_status(self, name, offset=0, length=None):
        """What a bitmap says of the range, as a list of Extent: EXTENT_DIRTY or 0 are their flags."""
        found = []

        @_ExtentFn
        def collect(_, extent):
            found.append(_extent(extent.contents))
            return 0

        _check(_lib.qcow2blk_image_bitmap_status(self._handle, name.encode(), offset,
                                                 self.size - offset if length is None else length, collect, None, 0))
        return found

    def pread(self, count, offset):
        """count bytes."""
        buffer = bytearray(count)
        self.pread_into(buffer, offset)
        return bytes(buffer)

    def pread_into(self, buffer, offset):
        """Fills a bytearray, a memoryview, an array or the like."""
        with _Buffer(buffer, True) as memory:
            return _check(_lib.qcow2blk_image_pread(self._handle, memory.address, memory.length, offset, 0))

    def pwrite(self, buffer, offset, flags=0):
        """flags: FUA."""
        with _Buffer(buffer, False) as memory:
            return _check(_lib.qcow2blk_image_pwrite(self._handle, memory.address, memory.length, offset, flags))

    def preadv(self, buffers, offset):
        with _Vector(buffers, True) as vector:
            return _check(_lib.qcow2blk_image_preadv(self._handle, vector.array, vector.count, offset, 0))

    def pwritev(self, buffers, offset, flags=0):
        with _Vector(buffers, False) as vector:
            return _check(_lib.qcow2blk_image_pwritev(self._handle, vector.array, vector.count, offset, flags))

    def flush(self):
        _check(_lib.qcow2blk_image_flush(self._handle, 0))

    def discard(self, offset, length, flags=0):
        _check(_lib.qcow2blk_image_discard(self._handle, offset, length, flags))

    def write_zeroes(self, offset, length, flags=0):
        """flags: FUA, NO_HOLE, FAST_ZERO."""
        _check(_lib.qcow2blk_image_write_zeroes(self._handle, offset, length, flags))

    def block_status(self, offset=0, length=None):
        """What the range holds, as a list of Extent(offset, length, flags, depth); all of the disk if nothing is said."""
        found = []

        @_ExtentFn
        def collect(_, extent):
            found.append(_extent(extent.contents))
            return 0

        _check(_lib.qcow2blk_image_block_status(self._handle, offset, self.size - offset if length is None else length,
                                                collect, None, 0))
        return found

    # Asynchronous twins. The end of a request comes through queue, or as callback(user_data, result), where result is that
    # of the C function: a negative errno is no exception. The buffer must not be changed until then; it is kept alive.

    def aio_pread(self, buffer, offset, queue=None, callback=None, user_data=None):
        memory = _Buffer(buffer, True)
        _submit(_lib.qcow2blk_image_aio_pread, self._handle, memory.address, memory.length, offset, memory=memory, queue=queue,
                callback=callback, user_data=user_data)

    def aio_pwrite(self, buffer, offset, queue=None, callback=None, user_data=None, flags=0):
        memory = _Buffer(buffer, False)
        _submit(_lib.qcow2blk_image_aio_pwrite, self._handle, memory.address, memory.length, offset, memory=memory, queue=queue,
                callback=callback, user_data=user_data, flags=flags)

    def aio_preadv(self, buffers, offset, queue=None, callback=None, user_data=None):
        memory = _Vector(buffers, True)
        _submit(_lib.qcow2blk_image_aio_preadv, self._handle, memory.array, memory.count, offset, memory=memory, queue=queue,
                callback=callback, user_data=user_data)

    def aio_pwritev(self, buffers, offset, queue=None, callback=None, user_data=None, flags=0):
        memory = _Vector(buffers, False)
        _submit(_lib.qcow2blk_image_aio_pwritev, self._handle, memory.array, memory.count, offset, memory=memory, queue=queue,
                callback=callback, user_data=user_data, flags=flags)

    def aio_flush(self, queue=None, callback=None, user_data=None):
        _submit(_lib.qcow2blk_image_aio_flush, self._handle, queue=queue, callback=callback, user_data=user_data)

    def aio_discard(self, offset, length, queue=None, callback=None, user_data=None, flags=0):
        _submit(_lib.qcow2blk_image_aio_discard, self._handle, offset, length, queue=queue, callback=callback,
                user_data=user_data, flags=flags)

    def aio_write_zeroes(self, offset, length, queue=None, callback=None, user_data=None, flags=0):
        _submit(_lib.qcow2blk_image_aio_write_zeroes, self._handle, offset, length, queue=queue, callback=callback,
                user_data=user_data, flags=flags)

    def aio_block_status(self, offset, length, max=64, queue=None, callback=None, user_data=None):
        """The result is a list of at least one and at most max Extents; they may end before the range does."""
        memory = _ExtentArray(max)
        _submit(_lib.qcow2blk_image_aio_block_status, self._handle, offset, length, memory.array, max, memory=memory,
                queue=queue, callback=callback, user_data=user_data)

    # Only of an image with caller_loop=True: it works inside process(), on the thread that opened it.

    def fileno(self):
        """Readable when process() has something to do."""
        return _check(_lib.qcow2blk_image_fd(self._handle))

    def process(self):
        """How many requests ended. Call it after requests were begun, and when fileno() is readable."""
        return _check(_lib.qcow2blk_image_process(self._handle, 0))


class Device(_Editable):
    """An attached image: Device("disk.qcow2", socket="/run/disk.sock"), or Device.open("disk") for one that is there already.

    Options are those of "qcow2blk attach", with underscores. With socket or listen it is served over NBD by this process,
    until it is closed; otherwise it is a block device with a process of its own, which goes on.
    """

    _end = staticmethod(_lib.qcow2blk_device_close)
    _resize = staticmethod(_lib.qcow2blk_device_resize)
    _list_snapshots = staticmethod(_lib.qcow2blk_device_list_snapshots)
    _create_snapshot = staticmethod(_lib.qcow2blk_device_create_snapshot)
    _delete_snapshot = staticmethod(_lib.qcow2blk_device_delete_snapshot)
    _revert_snapshot = staticmethod(_lib.qcow2blk_device_revert_snapshot)
    _list_bitmaps = staticmethod(_lib.qcow2blk_device_list_bitmaps)
    _add_bitmap = staticmethod(_lib.qcow2blk_device_add_bitmap)
    _remove_bitmap = staticmethod(_lib.qcow2blk_device_remove_bitmap)
    _clear_bitmap = staticmethod(_lib.qcow2blk_device_clear_bitmap)
    _enable_bitmap = staticmethod(_lib.qcow2blk_device_enable_bitmap)
    _disable_bitmap = staticmethod(_lib.qcow2blk_device_disable_bitmap)
    _merge_bitmap = staticmethod(_lib.qcow2blk_device_merge_bitmap)
    _list_checkpoints = staticmethod(_lib.qcow2blk_device_list_checkpoints)
    _delete_checkpoint = staticmethod(_lib.qcow2blk_device_delete_checkpoint)
    _time = staticmethod(lambda timeout: (-1 if timeout is None else timeout,))
    _callback = None

    def __init__(self, path, key=None, **options):
        handle = _pointer()
        with _Options(options, key=key) as chosen:
            _check(_lib.qcow2blk_device_attach(os.fsencode(path), chosen._handle, byref(handle), 0))
        self._handle = handle.value

    @classmethod
    def open(cls, target):
        """A handle of the device with that name, node, image or URI, whoever attached it."""
        handle = _pointer()
        _check(_lib.qcow2blk_device_open(os.fsencode(target), byref(handle), 0))
        device = cls.__new__(cls)
        device._handle = handle.value
        return device

    name = property(lambda self: _text(_lib.qcow2blk_device_name, self._handle))
    uri = property(lambda self: _text(_lib.qcow2blk_device_uri, self._handle), doc="empty for a block device")
    path = property(lambda self: _text(_lib.qcow2blk_device_path, self._handle), doc="empty for an NBD server")
    state = property(lambda self: _check(_lib.qcow2blk_device_state(self._handle, 0)), doc="STATE_*")

    def status(self):
        """What "qcow2blk status --json" says."""
        return json.loads(_text(_lib.qcow2blk_device_status, self._handle, 0))

    def suspend(self, timeout=-1):
        """Leaves a closed, consistent file that other programs can change; requests of clients wait."""
        _check(_lib.qcow2blk_device_suspend(self._handle, timeout, 0))

    def resume(self, timeout=-1, flags=0):
        """flags: ALLOW_SHRINK."""
        _check(_lib.qcow2blk_device_resume(self._handle, timeout, flags))

    def detach(self, timeout=-1, flags=0):
        """Writes everything out and ends the device. flags: FORCE."""
        _check(_lib.qcow2blk_device_detach(self._handle, timeout, flags))

    def revert_snapshot(self, snapshot, flags=0, timeout=None):
        """Makes the disk what it was then. flags: FORCE, to say that this is meant."""
        self._edit(self._revert_snapshot, snapshot.encode(), timeout=timeout, flags=flags)

    def create_checkpoint(self, name, granularity=0, timeout=None):
        """Keeps the disk as it is now in a snapshot, and has a bitmap of that name record what changes from now on."""
        create_checkpoint([self], name, granularity, timeout)

    def on_event(self, callback):
        """Has callback(Event(kind, state, value, message)) hear what happens, on a thread of the library; None ends it."""
        thunk = None
        if callback is not None:
            @_EventFn
            def thunk(_, pointer):
                event = pointer.contents
                callback(Event(event.kind, event.state, event.value, event.message.decode()))
        _check(_lib.qcow2blk_device_set_event_callback(self._handle, thunk, None, 0))
        self._callback = thunk


def create_checkpoint(devices, name, granularity=0, timeout=None):
    """Makes a checkpoint of several devices, all of the same instant: of all or of none."""
    handles = (_pointer * len(devices))(*[device._handle for device in devices])
    _check(_lib.qcow2blk_devices_create_checkpoint(handles, len(devices), name.encode(), granularity,
                                                   -1 if timeout is None else timeout, 0))
