#!/usr/bin/python3
"""`qcow2blk top` and `status --watch` as a person sees them."""

import json
import os
import signal
import subprocess
import time
import unittest

from devices import BINARY, DeviceCase


def row(terminal, name):
    """The line of a device, as words."""
    return next((line.split() for line in terminal.lines if line.split()[:1] == [name]), None)


class Top(DeviceCase):
    def test_requests_of_the_interval_are_shown_by_device(self):
        self.attach("busy")
        self.attach("idle")
        top = self.terminal("top", "--interval", "0.5").wait_for(lambda seen: row(seen, "idle"), "both devices")
        for _ in range(6):
            self.transfer("busy", *["write 0 64k"] * 20)
            top.read(0.2)
            if row(top, "busy")[3] not in ("-", "0"):
                break
        busy = row(top, "busy")
        self.assertEqual("running", busy[1])
        self.assertEqual("0", busy[2])
        self.assertGreater(float(busy[3]), 0)
        self.assertIn("iB", busy[7])
        self.assertIn(busy[9], ("us", "ms"))
        self.assertEqual(["0", "0"], row(top, "idle")[2:4])

    def test_devices_come_and_go_and_change_their_state(self):
        top = self.terminal("top", "--interval", "0.2").wait_for_text("no devices")
        self.attach("disk")
        top.wait_for(lambda seen: row(seen, "disk") and row(seen, "disk")[1] == "running", "the device")
        self.run_command("suspend", "disk")
        top.wait_for(lambda seen: row(seen, "disk")[1] == "suspended", "its suspension")
        self.run_command("detach", "disk")
        top.wait_for_text("no devices")

    def test_dead_server_is_shown(self):
        pid = self.attach("disk")["pid"]
        top = self.terminal("top", "--interval", "0.2").wait_for_text("running")
        os.kill(pid, signal.SIGKILL)
        top.wait_for(lambda seen: row(seen, "disk")[1] == "dead", "its death")

    def test_silent_server_is_shown_and_the_others_go_on(self):
        self.attach("good")
        pid = self.attach("hangs")["pid"]
        top = self.terminal("top", "--interval", "0.3").wait_for(lambda seen: row(seen, "hangs"), "both devices")
        os.kill(pid, signal.SIGSTOP)
        try:
            top.wait_for(lambda seen: row(seen, "hangs")[1] == "silent", "its silence")
            before = time.monotonic()
            top.press("q")
            self.assertEqual(0, top.wait())
            self.assertLess(time.monotonic() - before, 2)
        finally:
            os.kill(pid, signal.SIGCONT)

    def test_keys_sort_by_each_column_and_reverse(self):
        for name in ("a", "b"):
            self.attach(name)
        top = self.terminal("top", "--interval", "5", columns=140).wait_for(lambda seen: row(seen, "b"), "both devices")
        order = lambda seen: [line.split()[0] for line in seen.lines if line.split()[:1] in (["a"], ["b"])]
        self.assertEqual(["a", "b"], order(top))
        top.press("R")
        top.wait_for(lambda seen: order(seen) == ["b", "a"], "the reverse order")
        for key in "nsrwtuaphfxi":
            top.press(key)
        # A column that stands out is underlined: the last one now, one to its left after "<".
        marked = lambda seen: "".join(seen.screen.buffer[2][x].data for x in range(seen.screen.columns)
                                      if seen.screen.buffer[2][x].underscore).strip()
        top.wait_for(lambda seen: marked(seen) == "IMAGE", "the column of images")
        top.press("<")
        top.wait_for(lambda seen: marked(seen) == "WAIT", "the column before it")
        top.press("\x1b[D")
        top.wait_for(lambda seen: marked(seen) == "FLIGHT", "the column before that")

    def test_pause_keeps_the_page_until_it_ends(self):
        self.attach("disk")
        top = self.terminal("top", "--interval", "0.2").wait_for_text("running")
        top.press(" ")
        top.wait_for_text("paused")
        self.run_command("suspend", "disk")
        top.read(1)
        self.assertEqual("running", row(top, "disk")[1])
        top.press(" ")
        top.wait_for_text("suspended")

    def test_interval_is_changed_by_keys(self):
        top = self.terminal("top").wait_for_text("every 1 s")
        top.press("+")
        top.wait_for_text("every 2 s")
        top.press("--")
        top.wait_for_text("every 0.5 s")

    def test_page_fits_a_terminal_that_is_resized(self):
        self.attach("disk")
        top = self.terminal("top", "--interval", "0.2", columns=120).wait_for_text("FLIGHT")
        top.resize(60, 8)
        top.wait_for(lambda seen: "FLIGHT" not in seen.text and "IMAGE" in seen.text and row(seen, "disk"), "fewer columns")
        self.assertTrue(top.lines[-1].startswith("q quit"), top.text)
        self.assertTrue(row(top, "disk")[-1].endswith("disk.qcow2"), top.text)

    def test_name_of_a_file_cannot_steer_the_terminal(self):
        path = self.folder / "a\x1b[31mred\n.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
        self.run_command("attach", str(path), "--socket", str(self.folder / "x"), "--name", "disk")
        self.addCleanup(self.run_command, "detach", "disk")
        self.terminal("top", columns=200).wait_for_text(r"a\x1b[31mred\n.qcow2")

    def test_quit_gives_the_terminal_back(self):
        for keys in ("q", "\x03"):
            top = self.terminal("top").wait_for_text("no devices")
            self.assertFalse(top.is_restored())
            top.press(keys)
            self.assertEqual(0, top.wait())
            self.assertTrue(top.is_restored())

    def test_signals_give_the_terminal_back(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            top = self.terminal("top").wait_for_text("no devices")
            os.kill(top.pid, number)
            self.assertEqual(0, top.wait(), number)
            self.assertTrue(top.is_restored(), number)

    def test_error_gives_the_terminal_back_and_is_seen(self):
        (self.folder / "run").mkdir(mode=0o700)
        top = self.terminal("top", "--interval", "0.2").wait_for_text("no devices")
        (self.folder / "run").chmod(0o777)
        self.assertNotEqual(0, top.wait())
        self.assertTrue(top.is_restored())
        self.assertIn(b"qcow2blk:", top.bytes[top.bytes.rfind(b"\x1b[?1049l"):])

    def test_stop_gives_the_terminal_back_and_continue_takes_it(self):
        top = self.terminal("top", "--interval", "0.2").wait_for_text("no devices")
        top.press("\x1a")
        _, status = os.waitpid(top.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        top.read(0.2)
        self.assertTrue(top.is_restored())
        seen = len(top.bytes)
        os.kill(top.pid, signal.SIGCONT)
        top.wait_for(lambda now: b"no devices" in now.bytes[seen:], "the page again")
        self.assertFalse(top.is_restored())

    def test_count_ends_it(self):
        top = self.terminal("top", "--interval", "0.2", "-n", "2")
        self.assertEqual(0, top.wait())
        self.assertTrue(top.is_restored())


class WithoutTerminal(DeviceCase):
    def test_it_is_refused_with_a_hint(self):
        done = self.run_command("top", check=False)
        self.assertEqual(2, done.returncode)
        self.assertEqual("qcow2blk: this needs a terminal: standard output is not a terminal (use --batch, which prints lines)\n",
                         done.stderr)
        dumb = self.terminal("top", environment={"TERM": "dumb"})
        self.assertEqual(2, dumb.wait())
        self.assertNotIn(b"\x1b", dumb.bytes)

    def test_batch_prints_tables_without_control_characters(self):
        self.attach("disk")
        done = self.run_command("top", "--batch", "-n", "2", "--interval", "0.2")
        tables = done.stdout.split("\n\n")
        self.assertEqual(2, len(tables))
        for table in tables:
            self.assertRegex(table, r"\ANAME +STATE .* IMAGE\ndisk +running .*/disk\.qcow2\n?\Z")
        self.assertNotIn("\x1b", done.stdout)

    def test_batch_measures_before_it_prints(self):
        self.attach("disk")
        with subprocess.Popen([BINARY, "top", "--json", "-n", "1", "--interval", "2"], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, **self.environment}) as top:
            time.sleep(0.7)
            self.transfer("disk", *["write 0 8k"] * 10)
            device = json.loads(top.communicate()[0])["devices"][0]
        self.assertAlmostEqual(5, device["writes-per-second"], delta=1)
        self.assertAlmostEqual(5 * 8192, device["written-bytes-per-second"], delta=8192)
        self.assertGreater(device["p99-ns"], 0)
        self.assertGreater(device["average-ns"], 0)

    def test_unknown_columns_counts_and_intervals_are_refused(self):
        for words in (["--sort", "speed"], ["-n", "0"], ["-n", "x"], ["--interval", "0"], ["--interval", "soon"]):
            done = self.run_command("top", "--batch", *words, check=False)
            self.assertEqual(2, done.returncode, words)
            self.assertIn(words[1], done.stderr)


class Status(DeviceCase):
    def test_watch_draws_again_and_quits(self):
        self.attach("disk")
        watch = self.terminal("status", "disk", "--watch", "--interval", "0.2", rows=50).wait_for_text("running")
        self.run_command("suspend", "disk")
        watch.wait_for_text("suspended")
        watch.press("q")
        self.assertEqual(0, watch.wait())
        self.assertTrue(watch.is_restored())

    def test_watch_scrolls_what_does_not_fit(self):
        self.attach("disk")
        watch = self.terminal("status", "--watch", rows=8).wait_for_text("running")
        self.assertNotIn("kernel", watch.text)
        watch.press("\x1b[F")
        watch.wait_for_text("coop taskrun")

    def test_watch_of_json_prints_a_line_each_time(self):
        self.attach("disk")
        with subprocess.Popen([BINARY, "status", "--watch", "--json", "--interval", "0.1"], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, **self.environment}) as watch:
            lines = [json.loads(watch.stdout.readline()) for _ in range(3)]
            watch.terminate()
        self.assertEqual(["disk"] * 3, [line[0]["name"] for line in lines])

    def test_all_devices_are_shown_though_one_is_silent(self):
        self.attach("good")
        pid = self.attach("hangs")["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            watch = self.terminal("status", "--watch", rows=60)
            watch.wait_for_text("silent")
            self.assertIn("running", watch.text)
        finally:
            os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
