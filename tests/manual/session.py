#!/usr/bin/python3
"""Runs the examples of a page as a reader would: one shell, one folder, one command after the other.

Usage: tests/manual/session.py FILE [PAGE...]     runs the sessions of a file that examples.py has written

It needs nothing of the checkout, as it also runs in a virtual machine. What a command prints is compared with what the page
shows: "..." stands for any lines, also for the rest of one, blanks for any number of blanks, and what a pattern matches (a process
ID, a time) may differ. Such a value is replaced where a later command uses it.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# A shell on emulated processors is slow; a command that hangs should not hold the others up for long.
COMMAND_SECONDS = 120

# qemu-img measures PBKDF2 by the processor's time in milliseconds, and gives up where the clock shows none: of some of
# its runs on a virtual machine. Nothing has been made then.
QEMU_CLOCK_FAULT = "Unable to get accurate CPU usage"
QEMU_CLOCK_TRIES = 20


class Mismatch(Exception):
    """A command that did not do what the page says."""


class Session:
    """The examples of one page."""

    def __init__(self, description):
        self.page, self.steps = description["page"], description["steps"]
        self.setup, self.fails, self.unshown = description["setup"], description["fails"], description["unshown"]
        self.patterns = [re.compile(pattern) for pattern in description["patterns"]]
        self.prefixes = description["prefixes"]
        self.values = {}

    def run(self):
        """Runs all commands. Raises Mismatch at the first that is not as printed."""
        with tempfile.TemporaryDirectory(prefix="q2b-examples-") as folder:
            self.folder, self.port = folder, _free_port()
            self._start_shell()
            try:
                for command in self.setup:
                    status, output = self._execute(command)
                    if status != 0:
                        raise Mismatch(f"setup \"{command}\" ended with status {status}:\n{output}")
                for command, shown in self.steps:
                    self._step(command, shown)
            finally:
                self._end()

    def _start_shell(self):
        environment = {**os.environ, "HOME": self.folder, "LC_ALL": "C", "QCOW2BLK_CACHE_DIR": self.folder + "/.cache/qcow2blk"}
        if "/run" in self.prefixes:
            environment["QCOW2BLK_RUNTIME_DIR"] = self.folder + "/qcow2blk"
        if binary := os.environ.get("QCOW2BLK_BINARY"):
            Path(self.folder, ".bin").mkdir()
            Path(self.folder, ".bin/qcow2blk").symlink_to(binary)
            environment["PATH"] = f"{self.folder}/.bin:{environment['PATH']}"
        self.shell = subprocess.Popen(["bash", "--norc"], cwd=self.folder, env=environment, start_new_session=True, text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.count = 0

    def _end(self):
        ends = ["umount -q /mnt", "qcow2blk detach --all --timeout 20 || qcow2blk detach --all --force"] if "/run" not in self.prefixes \
            else ["qcow2blk detach --all --force"]
        try:
            for command in ends:
                self._execute(command)
        finally:
            # Its own group: what the page started and did not end.
            os.killpg(self.shell.pid, signal.SIGKILL)
            self.shell.communicate()

    def _execute(self, command):
        self.count += 1
        files = [Path(self.folder, f".{name}.{self.count}") for name in ("command", "output", "status")]
        files[0].write_text(command + "\n")
        # Not in a subshell: "cd" and variables last. Not through a pipe: a server that stays would hold it open.
        self.shell.stdin.write(". {0} >{1} 2>&1 </dev/null; echo $? >{2}; echo done\n".format(*files))
        self.shell.stdin.flush()
        signal.signal(signal.SIGALRM, _raise_timeout)
        signal.alarm(COMMAND_SECONDS)
        try:
            if self.shell.stdout.readline() != "done\n":
                raise Mismatch(f"the shell ended in \"{command}\": {files[1].read_text()}")
        except TimeoutError:
            raise Mismatch(f"\"{command}\" had not ended after {COMMAND_SECONDS} s; it printed:\n{files[1].read_text()}") from None
        finally:
            signal.alarm(0)
        return int(files[2].read_text()), files[1].read_text(errors="replace")

    def _step(self, command, shown):
        here = command
        for prefix in self.prefixes:
            here = re.sub(rf"(?<![\w.]){re.escape(prefix)}/", self.folder + "/", here)
        here = here.replace(":10809", f":{self.port}")
        for value, real in self.values.items():
            here = re.sub(rf"(?<![\w.]){re.escape(value)}(?![\w.])", real, here)
        status, output = self._execute(here)
        tries = 1
        while status != 0 and QEMU_CLOCK_FAULT in output and tries < QEMU_CLOCK_TRIES:
            status, output = self._execute(here)
            tries += 1
        found = self._as_printed(output)
        if status in self.fails.get(command, []):
            return
        if status != 0:
            raise Mismatch(f"\"{command}\" ended with status {status} and printed:\n{output}")
        if command not in self.unshown and not self._fits([_words(line) for line in shown], found):
            raise Mismatch(f"\"{command}\" printed:\n{output}instead of:\n" + "".join(line + "\n" for line in shown))

    def _as_printed(self, output):
        """Output with the places of the page in it."""
        text = output.replace(f"localhost:{self.port}", "localhost").replace(f":{self.port}", ":10809")
        return [_words(line) for line in text.splitlines()]

    def _fits(self, shown, found):
        """Whether the lines are those that are shown. Learns the values that differ."""
        if not shown:
            return not found
        if shown[0] == "...":
            return any(self._fits(shown[1:], found[skipped:]) for skipped in range(len(found) + 1))
        if found and shown[0].endswith(" ...") and found[0].startswith(shown[0][:-4]):
            return self._fits(shown[1:], found[1:])
        return bool(found) and self._is_line(shown[0], found[0]) and self._fits(shown[1:], found[1:])

    def _is_line(self, shown, found):
        for prefix in self.prefixes:
            shown = re.sub(rf"(?<![\w.]){re.escape(prefix)}(?=/)", "FOLDER", shown)
        found = found.replace(self.folder, "FOLDER")
        learned = {}
        for pattern in self.patterns:
            mine, theirs = pattern.findall(shown), pattern.findall(found)
            if len(mine) == len(theirs):
                learned.update(zip(mine, theirs))
                shown, found = (pattern.sub("*", text) for text in (shown, found))
        if shown != found:
            return False
        self.values.update(learned)
        return True


def _words(line):
    return " ".join(line.split())


def _raise_timeout(*_):
    raise TimeoutError


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    descriptions = json.loads(Path(sys.argv[1]).read_text())
    wanted, failed = sys.argv[2:], 0
    for description in descriptions:
        if wanted and description["page"] not in wanted:
            continue
        try:
            Session(description).run()
            print(f"{description['page']}: {len(description['steps'])} commands", flush=True)
        except Mismatch as mismatch:
            failed += 1
            print(f"{description['page']}: {mismatch}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
