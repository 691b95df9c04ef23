"""One image and a few nodes: what is read is right, what is fetched is what it should be. Times are for "make bench-fleet"."""

import json
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

import boot
import fleet

HERE = Path(__file__).resolve().parent


@unittest.skipIf(fleet.NGINX is None, "nginx is not installed")
class FleetTests(unittest.TestCase):
    """A small fleet on fast links."""

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            figures = Path(folder, "figures.json")
            done = subprocess.run([HERE / "fleet.py", "--demo", "--nodes", "3", "--rtt", "4", "--rate", "1000", "--fleet-rate", "500",
                                   "--json", figures], capture_output=True, text=True, check=False)
            cls.output = done.stdout + done.stderr
            cls.figures = json.loads(figures.read_text()) if done.returncode == 0 else None

    def setUp(self):
        self.assertIsNotNone(self.figures, self.output)

    def row(self, name):
        """The row of a way to boot."""
        return next(row for row in self.figures["one-node"]["rows"] if row[""] == name)

    def test_cold_node_fetches_little_of_the_image(self):
        self.assertLess(self.row("qcow2blk, cold")["% of image"], 25)
        self.assertLess(self.row("qcow2blk, cold, chunks of 64K")["MB fetched"], self.row("qcow2blk, cold")["MB fetched"])

    def test_warm_node_asks_the_server_once(self):
        warm = self.row("qcow2blk, warm")
        self.assertLessEqual(warm["requests"], 1)
        self.assertLess(warm["MB fetched"], 0.1)

    def test_trace_fetches_each_chunk_once_with_a_manifest_too(self):
        traced, pinned = self.row("qcow2blk, cold, with a trace"), self.row("qcow2blk, cold, trace, --sha256")
        self.assertLess(traced["requests"], self.row("qcow2blk, cold")["requests"] * 1.1)
        self.assertLess(pinned["requests"], traced["requests"] * 1.1)

    def test_every_node_fetches_no_more_than_one_alone(self):
        sent = next(row for row in self.figures["all-nodes"]["rows"] if row[""].startswith("MB from"))["median"]
        self.assertLess(sent, self.row("qcow2blk, cold")["MB fetched"] * 1.1)


class LinkTests(unittest.TestCase):
    """A link is as far away and as narrow as it is told to be: never nearer or wider."""

    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)

    def open(self, rtt, mbits):
        """A link to the test's server."""
        link = subprocess.Popen([fleet.PYTHON, HERE / "link.py", str(self.server.getsockname()[1]), str(rtt), str(mbits), "1"],
                                stdout=subprocess.PIPE, text=True)
        self.addCleanup(link.stdout.close)
        self.addCleanup(link.wait)
        self.addCleanup(link.kill)
        return socket.create_connection(("127.0.0.1", int(link.stdout.readline())))

    def test_answer_takes_a_round_trip_after_that_of_the_connection(self):
        began = time.monotonic()
        with self.open(100, 1000) as client:
            client.sendall(b"?")
            far, _ = self.server.accept()
            with far:
                far.sendall(far.recv(1))
                self.assertEqual(b"?", client.recv(1))
        self.assertGreaterEqual(time.monotonic() - began, 0.2)

    def test_bytes_take_the_time_that_the_rate_gives_them(self):
        length = 1 << 20
        with self.open(0, 16) as client:
            client.sendall(b"?")
            far, _ = self.server.accept()
            with far:
                far.recv(1)
                sender = threading.Thread(target=far.sendall, args=(bytes(length),))
                began = time.monotonic()
                sender.start()
                got = 0
                while got < length:
                    got += len(client.recv(1 << 16))
                took = time.monotonic() - began
                sender.join()
        self.assertGreaterEqual(took, length * 8 / 16e6 * 0.9)


class BootTests(unittest.TestCase):
    """The record is one of a disk."""

    def test_reads_lie_on_the_disk_and_data_does_not_overlap(self):
        record = boot.Boot()
        self.assertTrue(all(0 <= offset and length > 0 and offset + length <= record.size for offset, length in record.reads + record.data))
        ends = [offset + length for offset, length in record.data]
        self.assertTrue(all(end <= offset for end, (offset, _) in zip(ends, record.data[1:])))
        self.assertGreater(record.bytes_read, 40_000_000)


if __name__ == "__main__":
    unittest.main()
