#!/usr/bin/python3
"""Measures qcow2blk's kernel block devices against `qemu-nbd -c` inside a virtual machine with a Debian kernel.

Prints tables; writes artifacts/bench/kernel-PLACEMENT.json. What is measured and why: docs/benchmarks/kernel.md.
"""
import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

import bench
import kernel_cells
import kernel_report
import vcpus

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/kernel"))
import guest  # noqa: E402  (found through the line above)
import kernels  # noqa: E402

PLACEMENTS = ("disk", "tmpfs")
SILENCE_LIMIT = 420


def parse(arguments):
    parser = argparse.ArgumentParser(prog="kernel.py", description=__doc__.splitlines()[0])
    parser.add_argument("--cells", metavar="NAME,...", help="only these cells; * and ? match (see --list)")
    parser.add_argument("--list", action="store_true", help="print the names of the cells and end")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each server in each cell (default 3)")
    parser.add_argument("--runtime", type=float, default=4, metavar="SECONDS", help="length of a measured window (default 4)")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s, no counting of instructions: to see that it works")
    parser.add_argument("--modes", metavar="MODE,...", default="", help="compare these --ublk-mode values (map,user-copy,zero-copy)")
    parser.add_argument("--transports", metavar="NAME,...", default="ublk,nbd", help="ours on these (default ublk,nbd)")
    parser.add_argument("--servers", metavar="NAME,...", default="*",
                        help="of what the other options name, measure only these; * and ? match")
    parser.add_argument("--placement", metavar="NAME,...", default=",".join(PLACEMENTS), help="where the images are: disk (xfs on a "
                        "RAM disk, the main table), tmpfs (default both)")
    parser.add_argument("--kernel", choices=kernels.RELEASES, default="newest")
    parser.add_argument("--no-count", action="store_true", help="leave out the second machine that counts instructions")
    parser.add_argument("--steady", action="store_true", help="the guest's clock goes by instructions (qemu -icount), both processors take "
                        "turns: the same result on a busy machine, but nothing runs in parallel")
    parser.add_argument("--profile", type=int, metavar="LINES", default=0, help="print that many symbols that take most time, cell by cell "
                        "and server by server, instead of measuring (needs perf)")
    parser.add_argument("--image-size", type=int, default=256, metavar="MIB", help="the allocated images, one per server (default 256)")
    parser.add_argument("--binary", default=str(ROOT / "artifacts/qcow2blk"), metavar="PATH")
    parser.add_argument("--output", default=str(ROOT / "artifacts/bench"), metavar="FOLDER")
    parser.add_argument("--markdown", metavar="PAGE", nargs="?", const=str(ROOT / "docs/benchmarks/kernel.md"),
                        help="also put the tables between the kernel markers of this page (default docs/benchmarks/kernel.md)")
    options = parser.parse_args(arguments)
    for name, allowed in (("modes", kernel_cells.MODES), ("transports", ("ublk", "nbd")), ("placement", PLACEMENTS)):
        setattr(options, name, [word for word in getattr(options, name).split(",") if word])
        for word in getattr(options, name):
            if word not in allowed:
                parser.error(f"--{name} knows {', '.join(allowed)}, not \"{word}\"")
    if options.quick:
        options.rounds, options.runtime, options.no_count = 1, 2, True
    if options.profile:
        options.rounds, options.no_count = 1, True
    if options.rounds < 1 or options.runtime < 0.2 or options.image_size < 64:
        parser.error("rounds must be 1 or more, the runtime 0.2 or more, the image 64 MiB or more")
    return options


class Machine:
    """One virtual machine that goes through a plan."""

    def __init__(self, options, plan, counting):
        self.options, self.plan, self.counting = options, plan, counting
        self.samples, self.absent, self.facts = [], {}, {}

    def run(self):
        with tempfile.TemporaryDirectory(prefix="qcow2blk-bench.") as folder:
            plan = Path(folder, "plan.json")
            plan.write_text(json.dumps(self.plan), encoding="utf-8")
            emulator = ["-name", "bench,debug-threads=on"]
            if self.options.steady:
                emulator += ["-icount", "shift=1,sleep=off"]
            counts = os.path.join(folder, "counts") if self.counting else None
            if counts:
                emulator += ["-plugin", f"{vcpus.build_plugin(folder)},out={counts}"]
            files = [(Path(__file__).with_name("kernel_guest.py"), "files/kernel_guest.py"), (plan, "files/plan.json")]
            symbols = Path(self.options.binary).parent / "publish/qcow2blk.dbg"
            if self.options.profile and symbols.exists():
                files.append((symbols, "bin/qcow2blk.dbg"))
            with guest.Guest(kernels.get(self.options.kernel),
                             "exec python3 /run/payload/files/kernel_guest.py /run/payload/files/plan.json",
                             self.options.binary, memory=self.plan["space_mib"] + 1536, emulator=emulator,
                             accelerator="tcg,thread=single" if self.options.steady else "tcg,thread=multi",
                             files=files) as machine:
                self._follow(machine, counts)
        return self

    def _follow(self, machine, counts):
        processors = vcpus.Vcpus(machine.process.pid, counts)
        readings = {}
        while machine.exit_status is None:
            try:
                line = machine.next_line(time.monotonic() + SILENCE_LIMIT)
            except TimeoutError:
                line = None
            if line is None:
                raise SystemExit(f"bench: the guest fell silent\n{machine.console_text()[-3000:]}")
            kind, _, content = line.partition(" ")
            if kind in ("@@begin", "@@end"):
                readings[kind] = processors.read()
            elif kind.startswith("@@"):
                self._take(kind, content, readings)
            elif line:
                bench.log("guest: " + line)
        if machine.exit_status != 0:
            raise SystemExit(f"bench: the guest's script ended with status {machine.exit_status}\n{machine.console_text()[-3000:]}")

    def _take(self, kind, content, readings):
        if kind == "@@facts":
            self.facts = json.loads(content)
        elif kind == "@@absent":
            absent = json.loads(content)
            self.absent[absent["subject"]] = absent["why"]
            bench.log(f"{absent['subject']}: not measured: {absent['why']}")
        elif kind == "@@profile":
            profile = json.loads(content)
            print(f"\n{profile['cell']} on {profile['subject']}", *profile["lines"], sep="\n", flush=True)
        elif kind == "@@sample":
            sample = json.loads(content)
            seen = readings["@@end"].since(readings["@@begin"])
            sample |= {"host_seconds": seen.time, "cpu": seen.cpu, "counted": self.counting,
                       "timed": self.options.steady or not self.counting,
                       "user_instructions": seen.user, "kernel_instructions": seen.kernel}
            self.samples.append(sample)
            more = f", {(seen.user + seen.kernel) / sample['ios']:.0f} instructions per I/O" if self.counting else ""
            bench.log(f"{sample['cell']} {sample['round'] + 1}  {sample['subject']}: {sample['ios'] / sample['seconds']:.0f} IOPS, "
                      f"{seen.cpu / sample['ios'] * 1e6:.0f} us of CPU per I/O{more}")


def measure(options, placement, chosen):
    """All rounds on one placement; the results as they are written to the file."""
    subjects = [subject for subject in kernel_cells.subjects(options.modes, options.transports)
                if any(fnmatchcase(subject["name"], pattern) for pattern in options.servers.split(","))]
    images = len(subjects) * options.image_size
    plan = {"placement": placement, "folder": "/mnt", "space_mib": images + images // 8 + 1024, "image_mib": options.image_size,
            "warm_up": 0.25 if options.steady else 1, "empty_mib": 2048, "rounds": options.rounds, "runtime": options.runtime,
            "profile": options.profile, "subjects": subjects, "cells": [asdict(cell) for cell in chosen]}
    # A clock that goes by instructions is not disturbed by counting them.
    timed = Machine(options, plan, counting=options.steady).run()
    samples = timed.samples
    if not options.no_count and not options.steady:
        # Counting slows the guest down: it has a machine of its own. Counts hardly vary: one round is enough.
        samples = samples + Machine(options, plan | {"rounds": 1, "runtime": 3}, counting=True).run().samples
    return {"version": 1, "date": time.strftime("%Y-%m-%d"), "placement": placement, "host": host(), "guest": timed.facts,
            "settings": {"rounds": options.rounds, "runtime_seconds": options.runtime, "image_mib": options.image_size,
                         "processor": guest.CPU, "modes": options.modes, "steady": options.steady},
            "commands": {subject["name"]: kernel_cells.command(subject) for subject in subjects}, "absent": timed.absent,
            "cells": [asdict(cell) for cell in chosen], "samples": samples}


def host():
    facts = bench.machine()
    return {"processor": facts["processor"], "cores": facts["cores"], "kernel": platform.release(), "load_before": facts["load_before"],
            "emulator": bench.output_of("qemu-system-x86_64", "--version")}


def main(arguments):
    options = parse(arguments)
    if options.list:
        print("\n".join(cell.name for cell in kernel_cells.ALL))
        return
    chosen = kernel_cells.select(options.cells.split(",") if options.cells else None)
    if not os.access(options.binary, os.X_OK):
        raise SystemExit(f"bench: {options.binary} does not exist (run \"make build\" first)")
    everything = []
    for placement in options.placement:
        results = measure(options, placement, chosen)
        if options.profile:
            continue
        everything.append(results)
        os.makedirs(options.output, exist_ok=True)
        name = f"kernel-{'steady-' if options.steady else ''}{'modes-' if options.modes else ''}{placement}.json"
        Path(options.output, name).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(kernel_report.text(results))
        print(f"written: {os.path.relpath(os.path.join(options.output, name))}")
    if options.markdown and everything:
        kernel_report.fill(options.markdown, everything)
        print(f"written: {os.path.relpath(options.markdown)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
