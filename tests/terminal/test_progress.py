#!/usr/bin/python3
"""Work that takes longer than a second is seen on a terminal, and nowhere else."""

import re
import signal
import subprocess
import time
import unittest

from devices import DeviceCase


class Progress(DeviceCase):
    def make_dirty(self):
        """A large image whose writer was killed: every L2 table has to be read to repair it."""
        path = self.image("slow", "16G", "-o", "cluster_size=4k,lazy_refcounts=on,preallocation=metadata")
        # Only a write that takes a cluster sets the bit.
        subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", str(path), "+64M"], check=True)
        writer = subprocess.Popen(["qemu-io", "-f", "qcow2", "-c", "write 16G 64k", "-c", "sleep 100000", str(path)],
                                  stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not self.is_dirty(path):
                self.assertLess(time.monotonic(), deadline, "qemu-io never set the dirty bit")
                time.sleep(0.05)
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        return path

    @staticmethod
    def is_dirty(path):
        with open(path, "rb") as file:
            return file.read(80)[79] & 1 != 0

    def set_dirty(self, path):
        """Again, as the killed writer left it: the tables that were repaired stay sound."""
        with open(path, "r+b") as file:
            file.seek(79)
            file.write(b"\x01")

    def test_repair_shows_how_far_it_is_and_clears_the_line(self):
        path = self.make_dirty()
        began = time.monotonic()
        quiet = self.run_command("attach", str(path), "--socket", str(self.folder / "slow.nbd"))
        seconds = time.monotonic() - began
        self.run_command("detach", "slow")
        self.assertRegex(quiet.stderr, r"\Aqcow2blk: [^\n]* was not closed cleanly: rebuilding its refcounts\n\Z")
        if seconds < 1.5:
            self.skipTest(f"this machine repairs the image in {seconds:.1f} s")

        for words in ([], ["--foreground"]):
            with self.subTest(words):
                self.set_dirty(path)
                attach = self.terminal("attach", str(path), "--socket", str(self.folder / "slow.nbd"), *words)
                attach.wait_for(lambda seen: re.search(r"repairing slow\.qcow2  \[#*\.*\] +\d+%", seen.text), "the bar", 60)
                attach.wait_for_text("nbd+unix:", 60)
                self.assertNotIn("repairing", attach.text)
                self.assertNotIn("%", attach.text)
                # What is looked at before, and shown on a slow machine, has a bar of its own.
                for what in (rb"checking", rb"repairing"):
                    percents = [int(number) for number in re.findall(what + rb" slow\.qcow2  \[#*\.*\] +(\d+)%", attach.bytes)]
                    self.assertEqual(sorted(percents), percents)
                self.assertGreater(len(percents), 1)
                self.run_command("detach", "slow")
                self.assertEqual(0, attach.wait())

        self.set_dirty(path)
        dumb = self.terminal("attach", str(path), "--socket", str(self.folder / "slow.nbd"), environment={"TERM": "dumb"})
        self.assertEqual(0, dumb.wait(60))
        self.run_command("detach", "slow")
        self.assertNotIn(b"repairing", dumb.bytes)

    def test_attach_that_is_quick_shows_nothing(self):
        self.image("quick")
        attach = self.terminal("attach", str(self.folder / "quick.qcow2"), "--socket", str(self.folder / "quick.nbd"))
        self.assertEqual(0, attach.wait())
        self.addCleanup(self.run_command, "detach", "quick")
        self.assertEqual(f"nbd+unix:///?socket={self.folder}/quick.nbd\r\n".encode(), attach.bytes)

    def test_failed_attach_is_one_line(self):
        attach = self.terminal("attach", str(self.folder / "none.qcow2"), "--socket", str(self.folder / "x"))
        self.assertEqual(1, attach.wait())
        self.assertRegex(re.sub(r"\x1b\[\d*m", "", attach.bytes.decode()),
                         r"\Aqcow2blk: cannot attach [^\r\n]*: no such file or directory[^\r\n]*\r\n\Z")


if __name__ == "__main__":
    unittest.main()
