#!/usr/bin/python3
"""Runs the cases of cases/ in virtual machines with Debian's kernels and prints a line for each.

Usage: tests/kernel/run.py [--kernel 6.1|6.12|newest]... [--short] [--full] [--only NAME]... [--list] [--rounds N]

The last line is "N passed, N failed, N skipped"; the exit status is 0 only if nothing failed. A case that needs what
a kernel lacks is skipped and says why. Logs of the cases and of the kernels: artifacts/kernel/logs/.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import kernels
from selection import select
from guest import EMULATOR_FAULT, SPLAT, BootFailure, Guest
from powercut import POWER_CUT, run_power_cut
from shutdown import SHUTDOWN, run_shutdown

LOGS = kernels.CACHE / "logs"
SKIPPED = 77

# They boot machines of their own.
ALONE = (POWER_CUT, SHUTDOWN)

# Guests at a time: most cases keep one processor busy, and two are there.
LANES = 2
GUESTS = itertools.count(1)

# Programs that cases need: make test-kernel builds them.
PROGRAMS = [kernels.CACHE / "ublk-control-tests", kernels.CACHE / "library-device",
            kernels.CACHE.parent / "libqcow2blk.so", kernels.CACHE / "qcow2blk-old.deb", kernels.CACHE / "qcow2blk-new.deb"]

# What the case "manual" runs: the examples of the manual that need block devices.
EXAMPLES = [kernels.ROOT / "tests/manual/session.py", kernels.CACHE / "examples.json"]

# What the case "fleet" runs.
FLEET = sorted((kernels.ROOT / "tests/fleet").glob("*.py"))


class Tally:
    """The results of a run, printed as they come."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self._lock = threading.Lock()

    def passes(self, kernel, name, seconds):
        with self._lock:
            self.passed += 1
            print(f"PASS {kernel.label} {name} {seconds:.1f}s", flush=True)

    def skips(self, kernel, name, reason):
        with self._lock:
            self.skipped += 1
            print(f"SKIP {kernel.label} {name}: {reason}", flush=True)

    def fails(self, kernel, name, reason, log):
        with self._lock:
            self.failed += 1
            print(f"FAIL {kernel.label} {name}: {reason} (log: {os.path.relpath(log.path)})", flush=True)
            for line in log.tail():
                print("    " + line)
            sys.stdout.flush()

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


class Log:
    """What one case printed."""

    def __init__(self, kernel, name):
        folder = LOGS / kernel.release
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / (name.replace("/", "-") + ".log")
        self.lines = []
        self.file = open(self.path, "w")

    def add(self, line):
        self.lines.append(line)
        self.file.write(line + "\n")
        self.file.flush()

    def reason(self):
        """The last line that says why a case was skipped or failed."""
        for line in reversed(self.lines):
            for word in ("SKIP: ", "FAILED: "):
                if line.startswith(word):
                    return line.removeprefix(word)
        return self.lines[-1] if self.lines else "no output"

    def tail(self, count=40):
        return self.lines[-count:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", action="append", choices=kernels.RELEASES, help="may repeat (default: all)")
    parser.add_argument("--short", action="store_true", help="the short set; on the newest kernel unless --kernel says otherwise")
    parser.add_argument("--full", action="store_true", help="every case with kernel NBD, too, on kernels that have ublk (twice as long)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="cases whose name contains NAME; may repeat")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and end")
    parser.add_argument("--refresh", action="store_true", help="look for newer kernels")
    parser.add_argument("--rounds", type=int, help="power cuts in each power cut case (default 20, in the short set 4)")
    options = parser.parse_args()
    chosen = select(short=options.short, only=options.only)
    if options.list:
        for case in chosen:
            print(f"{case.name}\t{case.promise}")
        return 0
    binary = os.environ.get("QCOW2BLK_BINARY", kernels.ROOT / "artifacts/qcow2blk")
    if not os.access(binary, os.X_OK):
        raise SystemExit(f'{binary} does not exist (run "make build")')
    subprocess.run([sys.executable, kernels.ROOT / "tests/manual/examples.py", "write", EXAMPLES[1]], check=True)
    rounds = options.rounds or (4 if options.short else 20)
    tally = Tally()
    for release in options.kernel or (["newest"] if options.short else kernels.RELEASES):
        kernel = kernels.get(release, options.refresh)
        cases = [case for case in chosen if case.runs_on(kernel, options.full or options.only or options.short)]
        run_kernel(kernel, cases, binary, rounds, tally)
        if len(cases) < len(chosen):
            print(f"== linux {kernel.version}: {len(chosen) - len(cases)} cases ran over ublk only (--full: over kernel NBD, too)",
                  flush=True)
    print(tally)
    return 0 if tally.failed == 0 and tally.passed else 1


def run_kernel(kernel, chosen, binary, rounds, tally):
    started, stolen = time.monotonic(), stolen_seconds()
    shutil.rmtree(LOGS / kernel.release, ignore_errors=True)
    (LOGS / kernel.release).mkdir(parents=True)
    print(f"== linux {kernel.version}", flush=True)
    queue = Queue(chosen)
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(Lane(kernel, queue, binary, rounds, tally).run) for _ in range(LANES)]:
            done.result()
    stolen = stolen_seconds() - stolen
    others = f" ({stolen:.0f} s of processor time went to other machines of the host)" if stolen >= 1 else ""
    print(f"== linux {kernel.version}: {time.monotonic() - started:.0f} s{others}", flush=True)


def stolen_seconds():
    """Processor time that this machine wanted and did not get, if it is a virtual one: why a run may have taken longer."""
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


class Queue:
    """The cases that no lane has taken yet."""

    def __init__(self, cases):
        # What has a machine of its own, and what takes longest, first: then the lanes end together.
        machines = Counter(case.machine for case in cases)
        self._cases = sorted(cases, key=lambda case: (case.file not in ALONE, machines[case.machine], -case.seconds))
        self._lock = threading.Lock()

    def take(self, machine=None):
        """The next case, or the next for such a machine; None if there is none."""
        with self._lock:
            for case in self._cases:
                if machine is None or (case.machine == machine and case.file not in ALONE):
                    self._cases.remove(case)
                    return case
            return None

    def put_back(self, case):
        with self._lock:
            self._cases.insert(0, case)


class Lane:
    """One of the threads that take cases from the queue, with a guest at a time."""

    def __init__(self, kernel, queue, binary, rounds, tally):
        self.kernel, self.queue, self.binary, self.rounds, self.tally = kernel, queue, binary, rounds, tally
        self.repeated = set()

    def run(self):
        while case := self.queue.take():
            if case.file == POWER_CUT:
                run_power_cut(self.kernel, case, self.binary, self.rounds, self.tally, Log(self.kernel, case.name))
            elif case.file == SHUTDOWN:
                run_shutdown(self.kernel, case, self.binary, self.tally, Log(self.kernel, case.name))
            else:
                self.run_in_guest(case)

    def run_in_guest(self, case):
        """Runs this case and others in one guest, until there is none left for it or one failed."""
        console = LOGS / self.kernel.release / f"console-{next(GUESTS)}.log"
        try:
            with data_disk() as data, Guest(
                    self.kernel, '. "$PAYLOAD/guest/run-cases"\n', self.binary, data=data, memory=case.memory,
                    processors=case.processors, console=console, reads_input=True, kernel_options=case.kernel_options,
                    files=[(path, f"files/{path.name}") for path in PROGRAMS + EXAMPLES + FLEET if path.exists()],
                    settings={"SPLAT_PATTERN": f"'{SPLAT.pattern}'", "INIT": case.init}) as guest:
                while case and self.run_case(guest, case):
                    case = self.queue.take(case.machine)
        except BootFailure as failure:
            self.tally.fails(self.kernel, case.name, f"not run: {failure}", Log(self.kernel, case.name))

    def run_case(self, guest, case):
        """Runs a case. Returns whether the guest is good for another one."""
        log = Log(self.kernel, case.name)
        try:
            guest.send(f"{case.name} {case.file} {case.transport} {case.seconds}\n")
        except OSError:
            # It died after the case before: this one has not begun.
            self.after_death(guest, case, log)
            return False
        # The guest has a time limit of its own and says what hangs; this one is for guests that hang themselves.
        deadline = time.monotonic() + case.seconds + 60
        while True:
            try:
                line = guest.next_line(deadline)
            except TimeoutError:
                line = None
            if line is None or guest.exit_status is not None:
                self.after_death(guest, case, log)
                return False
            if line.startswith("@@end "):
                return self.count(case, log, *map(int, line.split()[1:]))
            log.add(line)

    def count(self, case, log, status, milliseconds):
        if status == 0:
            self.tally.passes(self.kernel, case.name, milliseconds / 1000)
        elif status == SKIPPED:
            self.tally.skips(self.kernel, case.name, log.reason())
        else:
            self.tally.fails(self.kernel, case.name, log.reason(), log)
        return status in (0, SKIPPED)

    def after_death(self, guest, case, log):
        """The guest ended or hung in the middle of a case: whose fault, and what of it."""
        console = guest.console_text().splitlines()
        splat = next((line for line in console if SPLAT.search(line)), "the guest hung or ended without a message")
        if EMULATOR_FAULT in splat and case.name not in self.repeated:
            print(f"     {self.kernel.label} {case.name}: the emulator failed ({splat.strip()}), once more", flush=True)
            self.repeated.add(case.name)
            self.queue.put_back(case)
            return
        for line in console[-60:]:
            log.add(line)
        self.tally.fails(self.kernel, case.name, splat.strip(), log)


class data_disk:
    """A sparse file for a guest's data, gone at the end."""

    def __enter__(self):
        self.path = kernels.CACHE / f"data-{os.getpid()}-{next(GUESTS)}.img"
        with open(self.path, "wb") as file:
            file.truncate(8 << 30)
        return self.path

    def __exit__(self, *_):
        self.path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
