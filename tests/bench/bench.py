#!/usr/bin/python3
"""Measures qcow2blk against qemu-nbd, in turn, on the same image, with fio's nbd engine over a unix socket.

Prints a table; writes results.json and chart.svg. What is measured and why: docs/performance.md.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict

import cells
import chart
import measure
import report
import servers
from cells import MIB
from images import FEATURES, Images

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIRST_BYTE_TARGET = 0.050
BINARY_TARGET = 8 * MIB
RESIDENT_TARGET = 8 * MIB


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", metavar="NAME", help="only these cells; * and ? match (see --list)")
    parser.add_argument("--list", action="store_true", help="print the names of the cells and end")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each server in each cell (default 3)")
    parser.add_argument("--runtime", type=int, default=4, metavar="SECONDS", help="length of a timed run (default 4)")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s, small images, one rival: to see that it works")
    parser.add_argument("--rivals", nargs="+", choices=list(servers.RIVALS), default=list(servers.RIVALS),
                        help="qemu-nbd options to compare with; the fastest in each cell is the rival")
    parser.add_argument("--binary", default=os.path.join(ROOT, "artifacts/qcow2blk"), metavar="PATH")
    parser.add_argument("--server-command", metavar="COMMAND",
                        help="measure this server instead of ours; {image}, {socket} and {export} are put in")
    parser.add_argument("--before", metavar="PATH",
                        help="another build of ours, measured in the same rounds: what a change of the I/O path did")
    parser.add_argument("--image-size", type=int, default=1024, metavar="MIB", help="the preallocated image (default 1024)")
    parser.add_argument("--compressed-size", type=int, default=512, metavar="MIB", help="the compressed images (default 512)")
    parser.add_argument("--folder", default="/dev/shm", help="where the images are made (default /dev/shm)")
    parser.add_argument("--output", default=os.path.join(ROOT, "artifacts/bench"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.runtime, options.rivals = 1, 2, options.rivals[:1]
        options.image_size, options.compressed_size = min(options.image_size, 256), min(options.compressed_size, 64)
    if options.rounds < 1 or options.runtime < 1 or options.image_size < 64 or options.compressed_size < 16:
        parser.error("rounds and runtime must be 1 or more, the image 64 MiB or more, compressed 16 MiB or more")
    return options


def log(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def output_of(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0] if done.stdout or done.stderr else "unknown"


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "load_before": os.getloadavg()[0], "fio": output_of("fio", "--version"),
            "qemu": output_of("qemu-nbd", "--version")}


def run_cell(cell, kinds, images, folder, options):
    """All rounds of a cell: every server once per round, so that a slow minute of the machine hits them all."""
    samples = {kind.name: [] for kind in kinds}
    for round_number in range(1, options.rounds + 1):
        # A build before is paired with ours: first one, then the other goes first.
        for kind in kinds if round_number % 2 else [kinds[1], kinds[0], *kinds[2:]]:
            sample = measure.run(cell, kind, images, folder, options.runtime)
            samples[kind.name].append(sample)
            log(f"{cell.name} {round_number}/{options.rounds}  {kind.name}: {sample.iops:.0f} IOPS")
    return cell_result(cell, kinds[0].name, samples)


def cell_result(cell, our_name, samples):
    medians = {name: measure.median(of_server) for name, of_server in samples.items()}
    mine = medians.pop(our_name)
    before = medians.pop(servers.BEFORE, None)
    best = max(medians, key=lambda name: medians[name].iops)
    rival = medians[best]
    return {"cell": asdict(cell), "rival": best, "ours": asdict(mine),
            "rivals": {name: asdict(sample) for name, sample in medians.items()},
            "samples": {name: [asdict(sample) for sample in of_server] for name, of_server in samples.items()},
            "ratios": {"iops": mine.iops / rival.iops, "per_cpu_second": mine.per_cpu_second / rival.per_cpu_second,
                       "p99": mine.p99_seconds / rival.p99_seconds if rival.p99_seconds else None},
            "before": before and {"iops": mine.iops / before.iops, "per_cpu_second": mine.per_cpu_second / before.per_cpu_second,
                                  "pairs": pairs(samples[our_name], samples[servers.BEFORE])},
            "resident_over_rival_bytes": mine.resident_bytes - rival.resident_bytes}


def pairs(mine, before):
    """The ratios of I/O per second round by round."""
    return [ours.iops / theirs.iops for ours, theirs in zip(mine, before)]


def measure_start(kinds, first_of_ours, images, folder, options):
    """Seconds from start to first byte of each server, on the image with the least to load."""
    image = images.path("full")
    rounds = 3 if options.quick else 11
    times = {}
    for kind in (first_of_ours, *kinds[1:]):
        times[kind.name] = measure.first_byte(kind, image, folder, rounds)
        log(f"first byte  {kind.name}: {times[kind.name] * 1000:.1f} ms")
    return times


def measure_limits(binary, images, folder, options):
    """What limits cost that are set and never reached, to the same server without: ratios round by round."""
    cell = next(cell for cell in cells.ALL if cell.name == "4k-randread-qd16")
    kinds = [servers.ours(binary), servers.limited(binary)]
    ratios = []
    for round_number in range(options.rounds):
        rates = {kind.name: measure.run(cell, kind, images, folder, options.runtime).iops
                 for kind in (kinds if round_number % 2 else reversed(kinds))}
        ratios.append(rates[servers.LIMITED] / rates[kinds[0].name])
        log(f"limits set and not reached  {round_number + 1}/{options.rounds}: {ratios[-1]:.2f}")
    return ratios


def require_space(options, chosen):
    needed = options.image_size * 2 * MIB + 3 * options.compressed_size * MIB
    if any(cell.image == "empty" for cell in chosen):
        needed += 2560 * MIB
    needed += options.image_size * MIB * len({cell.image for cell in chosen if cell.image in FEATURES})
    free = shutil.disk_usage(options.folder).free
    if free < needed:
        raise SystemExit(f"bench: {options.folder} has {free // MIB} MiB free, {needed // MIB} MiB may be needed "
                         "(--image-size, --compressed-size or --folder)")


def main(arguments):
    options = parse(arguments)
    if options.list:
        print("\n".join(cell.name for cell in cells.ALL))
        return
    chosen = cells.select(options.cells)
    require_space(options, chosen)
    if options.server_command:
        first = in_background = servers.Kind(options.server_command, options.server_command)
    else:
        first, in_background = servers.ours(options.binary), servers.ours_in_background(options.binary)
    kinds = [first, *([servers.before(options.before)] if options.before else []), *(servers.RIVALS[name] for name in options.rivals)]
    results = {"version": 1, "date": time.strftime("%Y-%m-%d"), "machine": machine(),
               "ours": first.name if options.server_command else output_of(options.binary, "--version"),
               "settings": {"rounds": options.rounds, "runtime_seconds": options.runtime,
                            "image_bytes": options.image_size * MIB,
                            "compressed_image_bytes": options.compressed_size * MIB, "folder": options.folder},
               "commands": {kind.name: kind.command.replace(ROOT + "/", "") for kind in kinds}, "cells": []}
    with tempfile.TemporaryDirectory(prefix="qcow2blk-bench.", dir=options.folder) as folder:
        images = Images(folder, options.image_size * MIB, options.compressed_size * MIB, log)
        results["first_byte_seconds"] = measure_start(kinds, in_background, images, folder, options)
        for cell in chosen:
            results["cells"].append(run_cell(cell, kinds, images, folder, options))
        if not options.server_command:
            results["limited_to_unlimited"] = measure_limits(options.binary, images, folder, options)
    results["limits"] = {"first_byte_seconds": FIRST_BYTE_TARGET, "binary_bytes": BINARY_TARGET,
                         "resident_over_rival_bytes": RESIDENT_TARGET}
    results["binary_bytes"] = None if options.server_command else os.stat(options.binary).st_size
    write(results, options.output)


def write(results, folder):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    with open(os.path.join(folder, "chart.svg"), "w", encoding="utf-8") as file:
        file.write(chart.of_results(results))
    print(report.text(results))
    print(f"written: {os.path.relpath(folder)}/results.json and chart.svg")


if __name__ == "__main__":
    # Ended from outside: the servers and images are cleared away as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
