#!/usr/bin/python3
"""Measures reads of 4 KiB through the C library against pread and fio on the raw file, and qemu-img bench on the image.

All take turns in each round, in memory and on a real file system. Prints a table. What is measured and why: docs/performance.md.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "abi_client.c")
DEPTH = 32
BLOCK = 4096

# What the table compares, and what is to be reached.
SYNC_EXTRA_TARGET_NS = 1000
FIO_TARGET = 0.9
QEMU_TARGET = 3.0


def parse(arguments):
    parser = argparse.ArgumentParser(prog="library.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each (default 5)")
    parser.add_argument("--runtime", type=int, default=2, metavar="SECONDS", help="length of a run (default 2)")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s, a small image: to see that it works")
    parser.add_argument("--image-size", type=int, default=256, metavar="MIB", help="the image (default 256)")
    parser.add_argument("--library", default=os.path.join(ROOT, "artifacts"), metavar="FOLDER", help="where libqcow2blk.so is")
    parser.add_argument("--folders", nargs="+", default=["/dev/shm", os.path.join(ROOT, "artifacts")], metavar="FOLDER",
                        help="where the images are made (default: in memory, and beside the build)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.runtime, options.image_size = 1, 1, min(options.image_size, 64)
    if options.rounds < 1 or options.runtime < 1 or options.image_size < 16:
        parser.error("rounds and runtime must be 1 or more, the image 16 MiB or more")
    return options


def run(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command)}: {done.stderr.strip()[-500:] or done.returncode}")
    return done.stdout


def build_client(folder, library):
    """Compiles the client, and returns a function that runs it."""
    program = os.path.join(folder, "abi_client")
    run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-I" + os.path.join(ROOT, "include"), CLIENT, "-o", program,
         os.path.join(library, "libqcow2blk.so")])
    os.symlink(os.path.abspath(os.path.join(library, "libqcow2blk.so")), os.path.join(folder, "libqcow2blk.so.0"))
    environment = dict(os.environ, LD_LIBRARY_PATH=folder)
    return lambda mode, path, seconds, last=DEPTH: float(run([program, mode, path, str(seconds), str(last)], environment))


def make_images(folder, mebibytes):
    """A raw file without zeroes, and the same as a qcow2 image."""
    raw, image = os.path.join(folder, "raw.img"), os.path.join(folder, "disk.qcow2")
    with open(raw, "wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-t", "none", raw, image])
    return raw, image


def fio(raw, seconds):
    output = run(["fio", "--name=raw", "--filename=" + raw, "--rw=randread", f"--bs={BLOCK}", "--ioengine=io_uring", "--direct=1",
                  f"--iodepth={DEPTH}", "--time_based", f"--runtime={seconds}", "--output-format=json"])
    return json.loads(output[output.index("{"):])["jobs"][0]["read"]["iops"]


def qemu_seconds(output):
    found = re.search(r"Run completed in ([0-9.]+) seconds", output)
    if found is None:
        raise SystemExit(f"bench: qemu-img bench said: {output.strip()[-200:]}")
    return max(float(found.group(1)), 0.001)


def qemu_bench(image, engine, seconds, rate):
    """qemu-img bench has no time limit: as many requests as a run of that length takes at this rate."""
    count = max(1000, int(rate * seconds))
    step = BLOCK * 17  # Not one after the other, as the others do not.
    output = run(["qemu-img", "bench", "-f", "qcow2", "-t", "none", "-i", engine, "-d", str(DEPTH), "-c", str(count),
                  "-s", str(BLOCK), "-S", str(step), image])
    return count / qemu_seconds(output)


def one_round(client, raw, image, seconds):
    """Reads a second by each way, one after the other; and the nanoseconds that a synchronous read takes more than pread."""
    rates = {mode: client(mode, raw if mode == "raw" else image, seconds) for mode in ("raw", "sync", "queue", "loop")}
    rates["extra"] = client("extra", image, seconds, raw)
    rates["fio"] = fio(raw, seconds)
    for engine in ("threads", "native"):
        rates["qemu-" + engine] = qemu_bench(image, engine, seconds, rates["fio"] / 4)
    return rates


def verdicts(rounds):
    """The figures that are compared, each the median over rounds of the comparison within one."""
    def median(of):
        return statistics.median(of(rates) for rates in rounds)
    return {
        "sync-extra-ns": median(lambda rates: rates["extra"]),
        "queue-of-fio": median(lambda rates: rates["queue"] / rates["fio"]),
        "loop-of-fio": median(lambda rates: rates["loop"] / rates["fio"]),
        "queue-of-qemu": median(lambda rates: rates["queue"] / rates["qemu-threads"]),
        "queue-of-qemu-native": median(lambda rates: rates["queue"] / rates["qemu-native"]),
    }


def lines(folder, rounds):
    """The table of one folder."""
    yield f"reads of 4 KiB in {folder}, {len(rounds)} rounds, median (least to most)"
    for name in (name for name in rounds[0] if name != "extra"):
        rates = sorted(rates[name] for rates in rounds)
        yield f"  {name:14} {statistics.median(rates):10.0f} a second  ({rates[0]:.0f} to {rates[-1]:.0f})"
    found = verdicts(rounds)
    for name, text, target, is_met in (
            ("sync-extra-ns", "a synchronous read costs more than pread, in ns", SYNC_EXTRA_TARGET_NS,
             found["sync-extra-ns"] < SYNC_EXTRA_TARGET_NS),
            ("queue-of-fio", "queue at depth 32, of fio's io_uring", FIO_TARGET, found["queue-of-fio"] >= FIO_TARGET),
            ("loop-of-fio", "loop at depth 32, of fio's io_uring", FIO_TARGET, found["loop-of-fio"] >= FIO_TARGET),
            ("queue-of-qemu", "queue, of qemu-img bench", QEMU_TARGET, found["queue-of-qemu"] >= QEMU_TARGET),
            ("queue-of-qemu-native", "queue, of qemu-img bench -i native", None, True)):
        goal = "" if target is None else f"  (target {target:g}: {'met' if is_met else 'missed'})"
        yield f"  {text:50} {found[name]:8.2f}{goal}"


def main(arguments):
    options = parse(arguments)
    for program in ("gcc", "fio", "qemu-img"):
        if shutil.which(program) is None:
            raise SystemExit(f"bench: {program} is not installed")
    for parent in options.folders:
        with tempfile.TemporaryDirectory(prefix="qcow2blk-bench-", dir=parent) as folder:
            client = build_client(folder, options.library)
            raw, image = make_images(folder, options.image_size)
            rounds = []
            for number in range(options.rounds):
                print(f"{time.strftime('%H:%M:%S')}  {parent}: round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
                rounds.append(one_round(client, raw, image, options.runtime))
            print("\n".join(lines(parent, rounds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
