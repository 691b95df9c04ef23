"""One image and a few nodes: what is read is right, what is fetched is what it should be. Times are for "make bench-fleet"."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import boot
import fleet
import network
import programs

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

    def test_output_and_figures_say_which_network_it_was(self):
        choice = network.choose("auto")
        self.assertEqual(str(choice), self.output.splitlines()[0])
        self.assertEqual("namespaces" if choice.has_namespaces else "user", self.figures["network"])

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


@unittest.skipIf(fleet.NGINX is None, "nginx is not installed")
class StopTests(unittest.TestCase):
    """Nothing is left of a run that was ended in the middle."""

    def test_signal_ends_what_runs_and_removes_the_files(self):
        with tempfile.TemporaryDirectory() as folder, open(Path(folder, "boot"), "w+") as record:
            record.write(f"size {32 << 20}\ndata 0 {8 << 20}\n" + "".join(f"read {i << 16} 4096\n" for i in range(100)))
            record.flush()
            scratch = Path(folder, "scratch")
            scratch.mkdir()
            # Far away: it would take longer than anybody waits.
            with subprocess.Popen([HERE / "fleet.py", "--demo", "--boot", record.name, "--rtt", "1000"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, env={**os.environ, "TMPDIR": str(scratch)}) as process:
                self.addCleanup(process.kill)
                while not process.stdout.readline().startswith("One node"):
                    self.assertIsNone(process.poll())
                programs.wait_for(lambda: self.processes(scratch) > 1, "the first node")
                process.send_signal(signal.SIGTERM)
                said, _ = process.communicate(timeout=60)
            self.assertEqual(130, process.returncode, said)
            self.assertIn("ended by SIGTERM", said)
            self.assertEqual([], list(scratch.iterdir()))
            self.assertEqual(0, self.processes(scratch))

    @staticmethod
    def processes(folder):
        """How many processes a run with this folder has."""
        found = 0
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found += os.fsencode(folder) in process.read_bytes()
        return found


class ArgumentTests(unittest.TestCase):
    """What makes no sense is refused."""

    def test_values_outside_their_ranges_are_refused(self):
        for words in (["--nodes", "0"], ["--nodes", "1001"], ["--rate", "0"], ["--fleet-rate", "inf"], ["--rate", "nan"], ["--rtt", "-1"],
                      ["--rtt", "nan"], ["--network", "vlan"]):
            with self.subTest(words), self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()) as errors:
                fleet.read_arguments(words)
            self.assertIn(words[0], errors.getvalue())

    def test_network_is_chosen_by_the_machine_unless_it_is_named(self):
        self.assertEqual("auto", fleet.read_arguments([]).network)
        self.assertEqual("user", fleet.read_arguments(["--network", "user"]).network)

    def test_demo_has_few_nodes_on_wide_links(self):
        demo = fleet.read_arguments(["--demo", "--nodes", "1000"])
        self.assertEqual((10, 50), (demo.nodes, demo.fleet_rate))


class ChoiceTests(unittest.TestCase):
    """Namespaces where they can be made, and otherwise user space; the output says why."""

    def test_namespaces_are_taken_where_they_can_be_made(self):
        for wanted in ("auto", "namespaces"):
            choice = network.choose(wanted, probe=lambda command=(): None, is_root=True)
            self.assertTrue(choice.has_namespaces)
            self.assertEqual((), choice.command)

    def test_user_who_may_be_root_of_a_namespace_of_users_becomes_it(self):
        choice = network.choose("auto", probe=lambda command=(): None if command else "not permitted", is_root=False)
        self.assertTrue(choice.has_namespaces)
        self.assertEqual("unshare", choice.command[0])

    def test_user_space_is_taken_where_they_cannot_be_made_and_the_reason_is_told(self):
        for is_root in (True, False):
            choice = network.choose("auto", probe=lambda command=(): "no such qdisc", is_root=is_root)
            self.assertFalse(choice.has_namespaces)
            self.assertIn("user space", str(choice))
            self.assertIn("no such qdisc", str(choice))

    def test_namespaces_that_were_asked_for_and_cannot_be_made_are_an_error(self):
        with self.assertRaisesRegex(programs.Failed, "no such qdisc"):
            network.choose("namespaces", probe=lambda command=(): "no such qdisc", is_root=True)

    def test_user_space_that_was_asked_for_needs_no_probe(self):
        choice = network.choose("user", probe=lambda command=(): self.fail("probed"))
        self.assertFalse(choice.has_namespaces)
        self.assertIn("as asked for", str(choice))

    def test_probe_names_the_program_that_is_not_there(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(network, "PATH", folder):
            self.assertEqual("there is no program unshare", network.obstacle())

    def test_probe_names_what_did_not_work_and_what_it_said(self):
        with mock.patch.object(network, "PROBE", "true\nls /no/such/file\ntrue"):
            # Who may not make a namespace hears that of unshare instead.
            self.assertRegex(network.obstacle(), "^(ls /no/such/file: .*such file|unshare: )")


class NamespaceTests(unittest.TestCase):
    """The same of links between namespaces; and they leave nothing behind, and nothing of them is seen outside."""

    SERVER = """if True:
        import socket
        server = socket.create_server(("0.0.0.0", 0))
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            client.sendall(bytes(int(client.makefile().readline())))
            client.close()
        """
    CLIENT = """if True:
        import socket, sys, time
        address, port, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        began = time.monotonic()
        with socket.create_connection((address, port)) as server:
            server.sendall(b"%d\\n" % length)
            while length > 0:
                length -= len(server.recv(1 << 16)) or sys.exit("closed")
        print(time.monotonic() - began)
        """

    def setUp(self):
        reason = network.obstacle()
        if reason:
            self.skipTest(reason)
        self.interfaces = os.listdir("/sys/class/net")
        self.network = network.Namespaces()
        self.addCleanup(self.network.end)

    def seconds(self, rtt, rate, length):
        """How long a node waits for so many bytes."""
        server = subprocess.Popen([*self.network.command, fleet.PYTHON, "-c", self.SERVER], stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        # Not the first node: each has its own.
        link = self.network.links(int(server.stdout.readline()), rtt, rate, 2)[1]
        return float(programs.run(*link.command, fleet.PYTHON, "-c", self.CLIENT, link.address, link.port, length))

    def test_answer_takes_a_round_trip_after_that_of_the_connection(self):
        self.assertGreaterEqual(self.seconds(200, 1000, 1), 0.4)

    def test_bytes_take_the_time_that_the_rate_gives_them(self):
        length = 1 << 20
        self.assertGreaterEqual(self.seconds(0, 16, length), length * 8 / 16e6 * 0.9)

    def test_end_ends_what_runs_in_them_and_nothing_else(self):
        link = self.network.links(80, 1, 100, 1)[0]
        self.assertEqual(self.interfaces, os.listdir("/sys/class/net"))
        inside = subprocess.Popen([*link.command, "sleep", "1000"])
        outside = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(outside.wait)
        self.addCleanup(outside.kill)
        own = os.stat("/proc/self/ns/net").st_ino
        programs.wait_for(lambda: network.identity(f"/proc/{inside.pid}/ns/net") not in (own, None), "the program to be in the namespace")
        made = {namespace.identity for namespace in [self.network.server, *self.network.nodes]}
        self.network.end()
        self.assertEqual(-signal.SIGKILL, inside.wait(timeout=60))
        self.assertIsNone(outside.poll())
        self.assertFalse(made & {network.identity(path) for path in Path("/proc").glob("[0-9]*/ns/net")})


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
