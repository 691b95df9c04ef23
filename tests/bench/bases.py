#!/usr/bin/python3
"""Measures reads of a base that is in the cache against the same base as a local file: the two take turns, in memory.

Both are served over NBD below an empty overlay, and were read twice before. Wanted: 95 % of the local file's speed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/fleet"))
import fleet  # noqa: E402

TARGET = 0.95
CELLS = {
    "4k-randread-qd1": ("randread", "4k", 1, "iops"),
    "4k-randread-qd16": ("randread", "4k", 16, "iops"),
    "64k-randread-qd16": ("randread", "64k", 16, "iops"),
    "1m-read-qd8": ("read", "1m", 8, "bw_bytes"),
}


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bases.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each (default 5)")
    parser.add_argument("--runtime", type=int, default=2, metavar="SECONDS", help="length of a run (default 2)")
    parser.add_argument("--quick", action="store_true", help="one round of 1 s, a small image: to see that it works")
    parser.add_argument("--image-size", type=int, default=512, metavar="MIB", help="the image (default 512)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.runtime, options.image_size = 1, 1, min(options.image_size, 64)
    return options


def fio(uri, cell, size, runtime):
    """What a run gave: requests or bytes a second."""
    rw, block, depth, figure = CELLS[cell]
    output = fleet.run("fio", f"--name={cell}", "--ioengine=nbd", f"--uri={uri}", f"--rw={rw}", f"--bs={block}", f"--iodepth={depth}",
                       f"--size={size}", "--randrepeat=1", "--time_based", f"--runtime={runtime}", "--output-format=json")
    return json.loads(output[output.index("{"):])["jobs"][0]["read"][figure]


class Servers:
    """The same base twice: from a web server, by way of the cache, and as a file."""

    def __init__(self, folder, mebibytes):
        self.folder, self.size = folder, mebibytes << 20
        self.environment = {**os.environ, "QCOW2BLK_RUNTIME_DIR": str(folder / "run"), "QCOW2BLK_CACHE_DIR": str(folder / "cache")}
        (folder / "run").mkdir(mode=0o700)
        self.web = fleet.Web(folder)
        raw, self.image = folder / "raw", self.web.root / "base.qcow2"
        with open(raw, "wb") as file:
            for _ in range(mebibytes):
                file.write(os.urandom(1 << 20))
        fleet.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, self.image)
        raw.unlink()

    def start(self):
        """Attaches both, and reads both twice: the second time, what was stored is compared with its checksums."""
        self.web.start()
        self.uris = {
            "local": self.attach("local", "--backing", self.image),
            "cached": self.attach("cached", "--base", f"http://127.0.0.1:{self.web.port}/base.qcow2", "--cache-dir", self.folder / "cache"),
        }
        for uri in [*self.uris.values()] * 2:
            fleet.run("nbdcopy", "--no-extents", uri, "null:")

    def attach(self, name, *options):
        overlay = self.folder / f"{name}.qcow2"
        fleet.run(fleet.QCOW2BLK, "create", overlay, self.size, "--backing", "http://store.example/base", "--backing-format", "qcow2")
        return fleet.run(fleet.QCOW2BLK, "attach", overlay, "--socket", self.folder / f"{name}.sock", *options,
                         env=self.environment).strip()

    def stop(self):
        subprocess.run([fleet.QCOW2BLK, "detach", "--all", "--force"], env=self.environment, capture_output=True, check=False)
        self.web.process.kill()
        self.web.process.wait()


def main(arguments):
    options = parse(arguments)
    if fleet.NGINX is None:
        print("bench: nginx is not installed: no bases in stores are measured")
        return 0
    with tempfile.TemporaryDirectory(prefix="q2b-bases-", dir="/dev/shm") as folder:
        servers = Servers(Path(folder), options.image_size)
        try:
            servers.start()
            samples = {cell: {name: [] for name in servers.uris} for cell in CELLS}
            for number in range(options.rounds):
                for cell, found in samples.items():
                    # Each is first in every other round: what the machine does meanwhile is not always to the same one's cost.
                    for name in sorted(servers.uris, reverse=number % 2 == 1):
                        found[name].append(fio(servers.uris[name], cell, servers.size, options.runtime))
        except fleet.Failed as failure:
            print(f"bench: {failure}", file=sys.stderr)
            return 1
        finally:
            servers.stop()
    print(f"\nA base in the cache against the same as a local file (wanted: {TARGET:.0%})")
    print(f"{'':<20}{'local':>12}{'cached':>12}{'ratio':>8}   of each round")
    for cell, found in samples.items():
        local, cached = (statistics.median(found[name]) for name in ("local", "cached"))
        unit, scale = ("k a s", 1e3) if CELLS[cell][3] == "iops" else ("MB/s", 1e6)
        rounds = sorted(one / other for one, other in zip(found["cached"], found["local"]))
        print(f"{cell:<20}{local / scale:>7.0f} {unit:<5}{cached / scale:>6.0f} {unit:<5}{cached / local:>7.1%}"
              f"   {rounds[0]:.0%} to {rounds[-1]:.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
