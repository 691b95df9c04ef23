#!/usr/bin/python3
"""Runs the cases of cases/ in virtual machines with Debian's kernels and prints a line for each.

Usage: tests/kernel/run.py [--kernel 6.1|6.12|newest]... [--short] [--only NAME]... [--list] [--rounds N]

The last line is "N passed, N failed, N skipped"; the exit status is 0 only if nothing failed. A case that needs what
a kernel lacks is skipped and says why. Logs of the cases and of the kernels: artifacts/kernel/logs/.
"""

import argparse
import itertools
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import kernels
from selection import select
from guest import EMULATOR_FAULT, SPLAT, BootFailure, Guest
from powercut import POWER_CUT, run_power_cut

LOGS = kernels.CACHE / "logs"
SKIPPED = 77
GUESTS = itertools.count(1)


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
    rounds = options.rounds or (4 if options.short else 20)
    tally = Tally()
    for release in options.kernel or (["newest"] if options.short else kernels.RELEASES):
        run_kernel(kernels.get(release, options.refresh), chosen, binary, rounds, tally)
    print(tally)
    return 0 if tally.failed == 0 and tally.passed else 1


def run_kernel(kernel, chosen, binary, rounds, tally):
    started = time.monotonic()
    shutil.rmtree(LOGS / kernel.release, ignore_errors=True)
    (LOGS / kernel.release).mkdir(parents=True)
    print(f"== linux {kernel.version}", flush=True)
    # Two lanes, each with a guest at a time: most cases keep one processor busy, and two are there.
    lanes = [[case for case in chosen if (case.transport == "ublk") == ublk] for ublk in (True, False)]
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(run_lane, kernel, lane, binary, rounds, tally) for lane in lanes]:
            done.result()
    print(f"== linux {kernel.version}: {time.monotonic() - started:.0f} s", flush=True)


def run_lane(kernel, cases, binary, rounds, tally):
    inside = [case for case in cases if case.file != POWER_CUT]
    for memory in sorted({case.memory for case in inside}, reverse=True):
        run_in_guests(kernel, [case for case in inside if case.memory == memory], binary, memory, tally)
    for case in cases:
        if case.file == POWER_CUT:
            run_power_cut(kernel, case, binary, rounds, tally, Log(kernel, case.name))


def run_in_guests(kernel, cases, binary, memory, tally):
    """Runs cases in one guest; after a failure the rest goes on in a fresh one."""
    left, repeated = list(cases), set()
    while left:
        console = LOGS / kernel.release / f"console-{next(GUESTS)}.log"
        plan = "".join(f"{case.name} {case.file} {case.transport} {case.seconds}\n" for case in left)
        try:
            with data_disk() as data, Guest(
                    kernel, f'. "$PAYLOAD/guest/run-cases"\n', binary, data=data, memory=memory, console=console,
                    settings={"SPLAT_PATTERN": f"'{SPLAT.pattern}'"}, texts={"plan": plan}) as guest:
                left = follow(kernel, guest, left, tally, repeated)
        except BootFailure as failure:
            for case in left:
                tally.fails(kernel, case.name, f"not run: {failure}", Log(kernel, case.name))
            return


def follow(kernel, guest, left, tally, repeated):
    """Reads the results of a guest until all cases ended or one failed; returns the cases that have not run."""
    by_name, log, running = {case.name: case for case in left}, None, None
    deadline = time.monotonic() + 60
    while True:
        try:
            line = guest.next_line(deadline)
        except TimeoutError:
            line = None
        if line is None or guest.exit_status is not None:
            break
        if line.startswith("@@begin "):
            running = by_name[line.split()[1]]
            log = Log(kernel, running.name)
            # The guest has a time limit of its own and says what hangs; this one is for guests that hang themselves.
            deadline = time.monotonic() + running.seconds + 30
        elif line.startswith("@@end "):
            status, milliseconds = int(line.split()[2]), int(line.split()[3])
            left = left[1:]
            if status == 0:
                tally.passes(kernel, running.name, milliseconds / 1000)
            elif status == SKIPPED:
                tally.skips(kernel, running.name, log.reason())
            else:
                tally.fails(kernel, running.name, log.reason(), log)
                return left
            running = None
            deadline = time.monotonic() + 60
        elif log:
            log.add(line)
    return left if not left else after_death(kernel, guest, left, running, log, tally, repeated)


def after_death(kernel, guest, left, running, log, tally, repeated):
    """The guest ended or hung in the middle of its cases: whose fault, and what is left to run."""
    case = running or left[0]
    log = log if running else Log(kernel, case.name)
    console = guest.console_text().splitlines()
    splat = next((line for line in console if SPLAT.search(line)), "the guest hung or ended without a message")
    if EMULATOR_FAULT in splat and case.name not in repeated:
        print(f"     {kernel.label} {case.name}: the emulator failed ({splat.strip()}), once more", flush=True)
        repeated.add(case.name)
        return left
    for line in console[-60:]:
        log.add(line)
    tally.fails(kernel, case.name, splat.strip(), log)
    return left[1:]


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
