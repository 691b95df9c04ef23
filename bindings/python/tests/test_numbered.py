"""The numbered tests, in Python: the same promises as tests/abi/c, against the same images."""

import errno
import gc
import json
import os
import pathlib
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import qcow2blk  # noqa: E402

KiB, MiB = 1024, 1024 * 1024
IMAGES = pathlib.Path(os.environ["QCOW2BLK_TEST_IMAGES"])


def shared(name, **options):
    return qcow2blk.Image(IMAGES / name, read_only=True, **options)


class Numbered(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="qcow2blk-python-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def copy(self, name):
        return shutil.copy(IMAGES / name, self.folder)

    def fails(self, number, function, *arguments, **options):
        with self.assertRaises(qcow2blk.Error) as caught:
            function(*arguments, **options)
        self.assertEqual(errno.errorcode[number], errno.errorcode[caught.exception.errno], caught.exception)
        return caught.exception

    def check_disk(self, image, byte, offset, count):
        self.assertEqual(bytes([byte]) * count, image.pread(count, offset))

    def check_with_qemu(self, path, byte, offset, count):
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", path], check=True)
        read = subprocess.run(["qemu-io", "-r", "-f", "qcow2", "-c", f"read -P {byte} {offset} {count}", path],
                              check=True, capture_output=True, text=True).stdout
        self.assertNotIn("failed", read)

    def test_010_version(self):
        self.assertEqual((0, 1, 0), qcow2blk.version())
        self.assertTrue(qcow2blk.has_feature("zstd"))
        self.assertFalse(qcow2blk.has_feature("teleport"))

    def test_020_errors(self):
        error = self.fails(errno.ENOENT, qcow2blk.Image, self.folder / "missing.qcow2")
        self.assertIsInstance(error, OSError)
        self.assertIn("missing.qcow2", error.strerror)
        self.assertEqual((errno.ENOENT, error.strerror), qcow2blk.last_error())
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(qcow2blk.last_error()))
        thread.start()
        thread.join()
        self.assertEqual([(0, "")], elsewhere)

    def test_030_options(self):
        self.assertIn("no-such", str(self.fails(errno.EINVAL, shared, "plain.qcow2", no_such=1)))
        self.fails(errno.EINVAL, shared, "plain.qcow2", cache_size="a lot")
        with shared("overlay.qcow2", cache_size="4M", backing_dir=["/usr", IMAGES]) as image:
            self.check_disk(image, 0x11, 0, 4096)
        with shared("raw.img", format="raw") as image:
            self.check_disk(image, 0x5A, 0, MiB)
        self.fails(errno.EBADF, qcow2blk.Image, None, fds=[-1])

    def test_100_open_close(self):
        path = self.copy("plain.qcow2")
        with qcow2blk.Image(path) as image:
            self.fails(errno.EBUSY, qcow2blk.Image, path)
        image.close()
        self.fails(errno.EINVAL, image.pread, 1, 0)
        image = qcow2blk.Image(path)
        del image
        gc.collect()
        qcow2blk.Image(path).close()

    def test_110_open_errors(self):
        self.fails(errno.EUCLEAN, shared, "damaged.qcow2")
        self.fails(errno.ENOENT, qcow2blk.Image, self.copy("overlay.qcow2"))

    def test_120_info(self):
        with shared("overlay.qcow2") as image:
            self.assertEqual((16 * MiB, 64 * KiB), (image.size, image.cluster_size))
            self.assertEqual((True, 3), (image.read_only, image.format_version))
            self.assertEqual("base.qcow2", image.backing_file)
            self.assertEqual(2, len(image.info()["chain"]))
        with shared("v2.qcow2") as image:
            self.assertEqual((2, "", 0), (image.format_version, image.backing_file, image.in_flight))

    def test_130_snapshots(self):
        with shared("snapshots.qcow2") as image:
            found = image.snapshots()
        self.assertEqual([("1", "before", MiB), ("2", "after", MiB)], [(one.id, one.name, one.disk_size) for one in found])
        self.assertGreater(found[0].date, 1.7e9)
        with shared("snapshots.qcow2", snapshot="before") as image:
            self.check_disk(image, 0x31, 0, 64 * KiB)

    def test_140_descriptors(self):
        chain = [open(IMAGES / name, "rb") for name in ("overlay.qcow2", "base.qcow2")]
        with qcow2blk.Image(None, read_only=True, fds=[file.fileno() for file in chain]) as image:
            for file in chain:
                file.close()
            self.check_disk(image, 0x22, 512 * KiB, 256 * KiB)

    def test_150_create(self):
        path = self.folder / "new.qcow2"
        qcow2blk.create(path, 4 * MiB, cluster_size="4K")
        self.fails(errno.EEXIST, qcow2blk.create, path, 4 * MiB)
        qcow2blk.create(path, MiB, replace=True)
        with qcow2blk.Image(path) as image:
            self.assertEqual((MiB, 64 * KiB), (image.size, image.cluster_size))
        self.fails(errno.EINVAL, qcow2blk.create, self.folder / "x", MiB, no_such=1)
        luks = self.folder / "luks.qcow2"
        qcow2blk.create(luks, MiB, key=b"open sesame", **{"encrypt.format": "luks", "encrypt.iter-time": 10})
        self.assertIn(b"luks", subprocess.run(["qemu-img", "info", luks], check=True, capture_output=True).stdout)
        self.fails(errno.ENOENT, qcow2blk.Image, luks)
        with qcow2blk.Image(luks, key=b"open sesame") as image:
            image.pwrite(b"x" * 512, 0)
            self.check_disk(image, ord("x"), 0, 512)

    def test_160_check(self):
        path = self.copy("plain.qcow2")
        told = []
        result = qcow2blk.check(path, lambda *what: told.append(what))
        self.assertEqual((qcow2blk.CHECK_CLEAN, 0, 0, 64), (result.verdict, result.leaks, result.corruptions,
                                                            result.allocated_clusters))
        self.assertEqual(result, qcow2blk.check(path, flags=qcow2blk.CHECK_REPAIR_ALL))
        self.fails(errno.EOPNOTSUPP, qcow2blk.check, IMAGES / "raw.img")
        with qcow2blk.Image(path):
            self.fails(errno.EBUSY, qcow2blk.check, path)

    def test_270_snapshots(self):
        path = self.copy("plain.qcow2")
        with qcow2blk.Image(path) as image:
            self.assertEqual("1", image.create_snapshot("one"))
            image.pwrite(b"\x77" * KiB, 0)
            self.assertEqual(["one"], [snapshot.name for snapshot in image.snapshots()])
            image.revert_snapshot("one")
            self.check_disk(image, 1, 0, KiB)
            image.delete_snapshot("1")
            self.fails(errno.ENOENT, image.delete_snapshot, "one")
        self.check_with_qemu(path, 1, 0, KiB)

    def test_290_resize(self):
        path = self.copy("plain.qcow2")
        with qcow2blk.Image(path) as image:
            image.resize(128 * MiB)
            image.pwrite(b"\x77" * KiB, 100 * MiB)
            self.assertEqual(128 * MiB, image.size)
            self.fails(errno.ERANGE, image.resize, MiB)
            image.resize(MiB, qcow2blk.ALLOW_SHRINK)
            self.fails(errno.EINVAL, image.pread, 1, MiB)
        self.check_with_qemu(path, 1, 0, KiB)
        with qcow2blk.Device(path, socket=self.folder / "s", name="resized") as device:
            device.resize(2 * MiB)
            device.resize(MiB, qcow2blk.ALLOW_SHRINK | qcow2blk.FORCE_SHRINK)
        self.check_with_qemu(path, 1, 0, KiB)

    def check_bitmaps(self, target, write):
        target.add_bitmap("monday", 64 * KiB)
        target.add_bitmap("week", flags=qcow2blk.BITMAP_DISABLED)
        self.fails(errno.EEXIST, target.add_bitmap, "week")
        write()
        self.assertEqual([("monday", 64 * KiB, 128 * KiB, qcow2blk.BITMAP_RECORDS), ("week", 64 * KiB, 0, 0)], target.bitmaps())
        target.disable_bitmap("monday")
        target.merge_bitmap("week", "monday")
        target.clear_bitmap("monday")
        target.enable_bitmap("monday")
        target.remove_bitmap("monday")
        self.assertEqual([("week", 64 * KiB, 128 * KiB, 0)], target.bitmaps())

    def test_280_bitmaps(self):
        path = self.copy("plain.qcow2")
        with qcow2blk.Image(path) as image:
            self.check_bitmaps(image, lambda: image.pwrite(bytes(128 * KiB), MiB))
            dirty = [(extent.offset, extent.length) for extent in image.bitmap_status("week") if extent.flags & qcow2blk.EXTENT_DIRTY]
            self.assertEqual([(MiB, 128 * KiB)], dirty)
        info = subprocess.run(["qemu-img", "info", path], check=True, capture_output=True, text=True).stdout
        self.assertIn("week", info)

    def qemu_info(self, path):
        """The names of snapshots and bitmaps, as qemu sees them."""
        subprocess.run(["qemu-img", "check", "-q", path], check=True)
        told = json.loads(subprocess.run(["qemu-img", "info", "-U", "--output=json", path], check=True, capture_output=True).stdout)
        return ([snapshot["name"] for snapshot in told.get("snapshots", [])],
                [bitmap["name"] for bitmap in told["format-specific"]["data"].get("bitmaps", [])])

    def check_checkpoints(self, target, write):
        target.create_checkpoint("monday", 128 * KiB)
        write()
        target.create_checkpoint("tuesday")
        self.fails(errno.EEXIST, target.create_checkpoint, "tuesday")
        self.fails(errno.EINVAL, target.create_checkpoint, "7")
        self.assertEqual([("monday", 128 * KiB, 256 * KiB, 0), ("tuesday", 128 * KiB, 0, qcow2blk.BITMAP_RECORDS)],
                         [(found.name, found.granularity, found.dirty_bytes, found.flags) for found in target.checkpoints()])
        self.assertEqual(["1", "2"], [found.snapshot_id for found in target.checkpoints()])
        self.assertLess(abs(target.checkpoints()[1].date - time.time()), 60)
        target.delete_checkpoint("tuesday")
        target.delete_checkpoint("tuesday")  # is deleted already
        self.assertEqual([("monday", 256 * KiB, qcow2blk.BITMAP_RECORDS)],
                         [(found.name, found.dirty_bytes, found.flags) for found in target.checkpoints()])

    def test_285_checkpoints(self):
        path = self.copy("plain.qcow2")
        with qcow2blk.Image(path) as image:
            self.check_checkpoints(image, lambda: image.pwrite(bytes(256 * KiB), MiB))
        self.assertEqual((["monday"], ["monday"]), self.qemu_info(path))

    def test_465_device_checkpoints(self):
        paths = [shutil.copy(IMAGES / "plain.qcow2", self.folder / name) for name in ("a", "b")]
        with qcow2blk.Device(paths[0], socket=self.folder / "as", name="a") as one, \
                qcow2blk.Device(paths[1], socket=self.folder / "bs", name="b") as two, qcow2blk.Device.open("a") as again:
            self.check_checkpoints(one, lambda: subprocess.run(
                ["qemu-io", "-f", "raw", "-c", "write 1M 256k", one.uri], check=True, capture_output=True))
            qcow2blk.create_checkpoint([one, two, again], "all", timeout=5000)
            self.assertEqual([["monday", "all"], ["all"]], [[found.name for found in of.checkpoints(timeout=5000)] for of in (one, two)])
            two.create_checkpoint("late")
            self.fails(errno.EEXIST, qcow2blk.create_checkpoint, [one, two], "late")
            self.fails(errno.EINVAL, qcow2blk.create_checkpoint, [], "late")
        self.assertEqual((["monday", "all"], ["monday", "all"]), self.qemu_info(paths[0]))
        self.assertEqual((["all", "late"], ["all", "late"]), self.qemu_info(paths[1]))

    def test_460_device_edits(self):
        path = self.copy("plain.qcow2")
        with qcow2blk.Device(path, socket=self.folder / "s", name="edited") as device:
            self.assertEqual("1", device.create_snapshot("one"))
            self.assertEqual(["one"], [snapshot.name for snapshot in device.snapshots(timeout=5000)])
            self.check_bitmaps(device, lambda: subprocess.run(
                ["qemu-io", "-f", "raw", "-c", "write 1M 128k", device.uri], check=True, capture_output=True))
            device.remove_bitmap("week")
            self.fails(errno.EBUSY, device.revert_snapshot, "one")
            device.revert_snapshot("one", qcow2blk.FORCE)
            device.delete_snapshot("one")
        self.check_with_qemu(path, 17, MiB, 64 * KiB)

    def test_200_pread(self):
        for name in ("plain.qcow2", "compressed.qcow2", "zstd.qcow2"):
            with shared(name) as image:
                self.assertEqual(b"\1" * 7 + b"\2" * 9, image.pread(16, 64 * KiB - 7))
                self.check_disk(image, 0, 64 * MiB - 1, 1)
                self.fails(errno.EINVAL, image.pread, 2, 64 * MiB - 1)
                buffer = bytearray(b"x" * 10)
                self.assertEqual(4, image.pread_into(memoryview(buffer)[3:7], 0))
                self.assertEqual(b"xxx\1\1\1\1xxx", buffer)
                self.assertRaises(BufferError, image.pread_into, b"constant", 0)

    def test_210_pwrite(self):
        path = self.copy("empty.qcow2")
        with qcow2blk.Image(path) as image:
            self.assertEqual(6, image.pwrite(b"python", 100 * KiB))
            self.assertEqual(MiB, image.pwrite(memoryview(bytearray(b"p" * MiB)), MiB, flags=qcow2blk.FUA))
            self.assertEqual(b"\0python\0", image.pread(8, 100 * KiB - 1))
        self.check_with_qemu(path, ord("p"), MiB, MiB)
        with shared("plain.qcow2") as image:
            self.fails(errno.EROFS, image.pwrite, b"x", 0)

    def test_220_vectors(self):
        with qcow2blk.Image(self.copy("plain.qcow2")) as image:
            first, second = bytearray(7), bytearray(9)
            self.assertEqual(16, image.preadv([first, bytearray(), second], 64 * KiB - 7))
            self.assertEqual((b"\1" * 7, b"\2" * 9), (first, second))
            self.assertEqual(5, image.pwritev([b"ab", b"cde"], 3 * MiB - 2))
            self.assertEqual(b"abcde", image.pread(5, 3 * MiB - 2))
            self.fails(errno.EINVAL, image.preadv, [bytearray(1)] * 1025, 0)

    def test_230_to_250_flush_discard_zeroes(self):
        path = self.copy("plain.qcow2")
        with qcow2blk.Image(path) as image:
            image.discard(64 * KiB, 64 * KiB)
            image.write_zeroes(200 * KiB, 100, flags=qcow2blk.NO_HOLE)
            image.flush()
            self.check_disk(image, 0, 64 * KiB, 64 * KiB)
            self.assertEqual(b"\4" + b"\0" * 100 + b"\4", image.pread(102, 200 * KiB - 1))
            self.fails(errno.EINVAL, image.write_zeroes, 0, 1, flags=8)
        self.check_with_qemu(path, 0, 64 * KiB, 64 * KiB)

    def test_260_block_status(self):
        with shared("overlay.qcow2") as image:
            extents = image.block_status()
            self.assertEqual(16 * MiB, sum(extent.length for extent in extents))
            self.assertEqual({0, 1, 2}, {extent.depth for extent in extents})
            self.assertEqual([(512 * KiB, 7, 0, 1)], image.block_status(512 * KiB, 7))
            self.fails(errno.EINVAL, image.block_status, 0, 17 * MiB)

    def test_300_aio_pread(self):
        with qcow2blk.Queue(64) as queue, shared("plain.qcow2") as image:
            buffers = [bytearray(4096) for _ in range(64)]
            for i, buffer in enumerate(buffers):
                image.aio_pread(buffer, i * 64 * KiB, queue=queue, user_data=i)
            self.assertRaises(BufferError, buffers[0].append, 1)  # held until it ends
            ended = set()
            while len(ended) < 64:
                for completion in queue.wait(timeout=30000):
                    self.assertEqual(4096, completion.check())
                    ended.add(completion.user_data)
            self.assertEqual([bytes([i + 1]) * 4096 for i in range(64)], buffers)
            buffers[0].append(1)
            self.assertRaises(ValueError, image.aio_pread, bytearray(1), 0)
            self.fails(errno.EINVAL, image.aio_pread, bytearray(1), 64 * MiB, queue=queue)
            self.assertEqual([], queue.wait(timeout=0))

    def test_310_to_340_aio(self):
        path = self.copy("plain.qcow2")
        with qcow2blk.Queue(1) as queue, qcow2blk.Image(path) as image:
            def only_result(begin, *arguments, **options):
                begin(*arguments, queue=queue, **options)
                return queue.wait(timeout=30000)[0].check()

            self.assertEqual(5, only_result(image.aio_pwrite, b"write", 20 * MiB, flags=qcow2blk.FUA))
            self.assertEqual(4, only_result(image.aio_pwritev, [b"ve", b"ct"], 21 * MiB))
            buffers = [bytearray(3), bytearray(1)]
            self.assertEqual(4, only_result(image.aio_preadv, buffers, 21 * MiB))
            self.assertEqual([b"vec", b"t"], buffers)
            self.assertEqual(0, only_result(image.aio_flush))
            self.assertEqual(0, only_result(image.aio_discard, 64 * KiB, 64 * KiB))
            self.assertEqual(0, only_result(image.aio_write_zeroes, 130 * KiB, 10))
            self.assertEqual(b"\3\0", image.pread(2, 130 * KiB - 1))
            extents = only_result(image.aio_block_status, 64 * KiB, MiB, 1)
            self.assertEqual([(64 * KiB, 64 * KiB)], [extent[:2] for extent in extents])
        self.check_with_qemu(path, 0, 64 * KiB, 64 * KiB)

    def test_350_queue(self):
        with qcow2blk.Queue() as queue, shared("plain.qcow2") as image:
            selector = selectors.DefaultSelector()
            selector.register(queue, selectors.EVENT_READ)
            self.assertEqual([], selector.select(0))
            image.aio_pread(bytearray(1), 0, queue=queue, user_data="mine")
            self.assertEqual(1, len(selector.select(30)))
            self.assertEqual([("mine", 1)], queue.wait(timeout=0))
            self.assertEqual([], selector.select(0))
            selector.close()
        self.fails(errno.EINVAL, qcow2blk.Queue, 0)
        with shared("plain.qcow2", caller_loop=True) as image:
            queue = qcow2blk.Queue()
            buffer = bytearray(1)
            image.aio_pread(buffer, 0, queue=queue)
            self.fails(errno.EBUSY, queue.close)
        queue.close()
        buffer.append(1)  # a completion that was dropped holds nothing

    def test_360_callback(self):
        ended, results = threading.Event(), []
        with shared("plain.qcow2") as image:
            def on_end(user_data, result):
                results.append((user_data, result, threading.get_ident() != threading.main_thread().ident))
                try:
                    image.close()
                except qcow2blk.Error as error:
                    results.append(error.errno)
                ended.set()

            image.aio_pread(bytearray(10), 0, callback=on_end, user_data="mine")
            self.assertTrue(ended.wait(30))
        self.assertEqual([("mine", 10, True), errno.EDEADLK], results)

    def test_370_caller_loop(self):
        results = []
        with shared("plain.qcow2", caller_loop=True) as image:
            buffer = bytearray(4096)
            image.aio_pread(buffer, 64 * KiB, callback=lambda _, result: results.append(result))
            selector = selectors.DefaultSelector()
            selector.register(image, selectors.EVENT_READ)
            while not results:
                if image.process() == 0:
                    self.assertTrue(selector.select(30))
            selector.close()
        self.assertEqual(([4096], b"\2" * 4096), (results, bytes(buffer)))

    def test_380_close_cancels(self):
        with qcow2blk.Queue(100) as queue:
            with qcow2blk.Image(self.copy("empty.qcow2")) as image:
                for i in range(100):
                    image.aio_pwrite(b"x" * 64 * KiB, i * 64 * KiB, queue=queue)
            self.assertLessEqual({completion.result for completion in queue.wait(100, 0)}, {64 * KiB, -errno.ECANCELED})

    def test_400_to_440_device(self):
        path, states = self.copy("plain.qcow2"), []
        with qcow2blk.Device(path, name="python", socket=self.folder / "python.sock") as device:
            device.on_event(lambda event: states.append(event.state))
            self.assertEqual(("python", ""), (device.name, device.path))
            size = subprocess.run(["nbdinfo", "--size", device.uri], check=True, capture_output=True, text=True).stdout
            self.assertEqual("67108864\n", size)
            device.suspend()
            self.assertEqual(qcow2blk.STATE_SUSPENDED, device.state)
            subprocess.run(["qemu-img", "snapshot", "-c", "monday", path], check=True)
            device.resume()
            self.assertEqual("running", device.status()["state"])
            with qcow2blk.Device.open("python") as again:
                self.assertEqual(device.uri, again.uri)
            device.detach()
            self.assertEqual(qcow2blk.STATE_ENDED, device.state)
            device.on_event(None)
        self.assertIn(qcow2blk.STATE_SUSPENDED, states)
        self.fails(errno.ENODEV, qcow2blk.Device.open, "python")
        with qcow2blk.Image(path) as image:
            self.assertEqual(["monday"], [snapshot.name for snapshot in image.snapshots()])

    def test_500_log(self):
        lines = []
        qcow2blk.set_log(lambda level, message: lines.append((level, message)), qcow2blk.LOG_DEBUG)
        qcow2blk.Device(self.copy("plain.qcow2"), name="logged", socket=self.folder / "logged.sock").close()
        qcow2blk.set_log(None)
        self.assertTrue(lines)
        self.fails(errno.EINVAL, qcow2blk.set_log, None, 9)


if __name__ == "__main__":
    unittest.main()
