"""The power cut case: a machine that syncs data to an attached image loses its power, again and again.

The machine boots once, attaches the image and is saved. Every round starts from that state on a copy of its disk, lets the
load run for a random time, and kills the emulator. The disk (volatile_disk.py) loses what was not flushed. Then the host repairs the file
system below the image, as a boot would, and looks at the image: qemu-img finds no error, and everything whose sync
returned is there.
"""

import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guest import BOOT_ATTEMPTS, EMULATOR_FAULT, SPLAT, BootFailure, Guest, SavedGuest

sys.path.insert(0, str(Path(__file__).resolve().parent / "guest"))
import sync_load

POWER_CUT = "power-cut"
SIZE = 64 << 20
DISK = 512 << 20
SHORTEST, LONGEST = 0.2, 1.5

PREPARE = f"""
. "$PAYLOAD/guest/lib.sh"
trap - EXIT
require_transport
cd /data
qemu-img create -q -f qcow2 disk.qcow2 {SIZE}
attach disk.qcow2
sync
exec python3 "$PAYLOAD/guest/sync_load.py" "$DEV" {SIZE}
"""


class Damage(Exception):
    """What a power cut destroyed."""


class EmulatorFault(Exception):
    """The emulator failed, not what it ran."""


def run_power_cut(kernel, case, binary, rounds, tally, log):
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="qcow2blk-cut.", dir=kernel.folder) as folder:
        work = Path(folder)
        try:
            reason = _prepare(kernel, case.transport, binary, work, log)
            if reason:
                tally.skips(kernel, case.name, reason)
                return
            synced = sum(_round_or_another(kernel, work, number, log) for number in range(rounds))
            if synced < rounds:
                raise Damage(f"only {synced} syncs in {rounds} rounds: the load did not run")
        except (Damage, EmulatorFault, TimeoutError, BootFailure) as damage:
            log.add(f"FAILED: {damage!r}")
            tally.fails(kernel, case.name, str(damage) or "the machine hung", log)
            return
    tally.passes(kernel, case.name, time.monotonic() - started)


def _prepare(kernel, transport, binary, work, log):
    """Saves a machine that has the image attached; returns why there is none, if the kernel lacks something."""
    for attempt in range(1, BOOT_ATTEMPTS + 1):
        try:
            return _save_attached(kernel, transport, binary, work, log)
        except BootFailure:
            if attempt == BOOT_ATTEMPTS:
                raise
    return None


def _save_attached(kernel, transport, binary, work, log):
    disk = work / "disk.img"
    with open(disk, "wb") as file:
        file.truncate(DISK)
    with VolatileDisk(work, disk, 0) as volatile, Guest(
            kernel, PREPARE, binary, data=volatile.drive, memory=512, reads_input=True, work=work / "guest",
            # Its disk does not outlive it: whoever boots it again makes a new one.
            settings={"TRANSPORT": transport}, attempts=1) as guest:
        for line in guest.lines(60):
            log.add(line)
            if line.startswith("SKIP: "):
                return line.removeprefix("SKIP: ")
            if line == "prepared":
                guest.save(work / "state")
                volatile.end()
                return None
    raise Damage("the image could not be attached")


def _round_or_another(kernel, work, number, log):
    try:
        return _round(kernel, work, number, log)
    except (EmulatorFault, Damage) as fault:
        if EMULATOR_FAULT not in str(fault) and EMULATOR_FAULT not in _console(work):
            raise
        log.add(f"round {number} once more: {fault}")
        return _round(kernel, work, number, log)


def _console(work):
    try:
        return (work / "guest/console").read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _round(kernel, work, number, log):
    """One cut. Returns the number of syncs before it."""
    # Every run cuts elsewhere; the log says where, and with which seed the load ran.
    seed = random.randrange(1 << 31)
    duration = random.uniform(SHORTEST, LONGEST)
    disk = work / "round.img"
    subprocess.run(["cp", "--sparse=always", work / "disk.img", disk], check=True)
    synced = [0] * sync_load.WRITERS
    with VolatileDisk(work, disk, seed) as volatile:
        with SavedGuest(work / "guest", work / "state") as guest:
            guest.send(f"{seed}\n")
            _count_syncs(guest, synced, 30, until_first=True)
            _count_syncs(guest, synced, duration, until_first=False)
            guest.kill()
            _count_syncs(guest, synced, 5, until_first=False)
            splat = next((line for line in guest.console_text().splitlines() if SPLAT.search(line)), None)
        lost = volatile.end()
    log.add(f"round {number}: seed {seed}, cut after {duration:.2f} s, {sum(synced)} syncs; {lost}")
    if splat and EMULATOR_FAULT in splat:
        raise EmulatorFault(splat)
    if splat:
        raise Damage(f"the kernel complained: {splat}")
    _check(work, disk, seed, synced)
    return sum(synced)


def _count_syncs(guest, synced, seconds, until_first):
    try:
        for line in guest.lines(seconds):
            if line.startswith("synced "):
                writer, batch = map(int, line.split()[1:])
                synced[writer] = batch
                if until_first:
                    return
            elif line.startswith("load failed"):
                raise Damage(line)
    except TimeoutError:
        if until_first:
            raise Damage("no sync returned")


def _check(work, disk, seed, synced):
    # 0: clean, 1: the journal was replayed or something repaired
    repaired = subprocess.run(["/usr/sbin/e2fsck", "-fy", disk], capture_output=True, text=True)
    if repaired.returncode > 1:
        raise Damage(f"e2fsck: {repaired.stdout[-300:]}")
    image, raw = work / "image.qcow2", work / "image.raw"
    for path in (image, raw):
        path.unlink(missing_ok=True)
    subprocess.run(["/usr/sbin/debugfs", "-R", f"dump /disk.qcow2 {image}", disk], check=True, capture_output=True)
    checked = subprocess.run(["qemu-img", "check", image], capture_output=True, text=True)
    # 3: leaked clusters only
    if checked.returncode not in (0, 3):
        raise Damage(f"qemu-img check (status {checked.returncode}): {(checked.stdout + checked.stderr)[-400:]}")
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True, capture_output=True)
    _compare(raw.read_bytes(), seed, synced)


def _compare(data, seed, synced):
    # A writer can be one batch further than it said, and two if its last line was cut.
    allowed = sync_load.allowed_after(SIZE, seed, synced, ahead=2)
    zero = bytes(sync_load.SECTOR)
    for offset in range(0, SIZE, sync_load.SECTOR):
        sector = data[offset:offset + sync_load.SECTOR]
        if sector == zero and offset not in allowed:
            continue
        found = sync_load.batch_in(sector, offset)
        if found not in allowed.get(offset, {0}):
            raise Damage(f"sector at {offset} holds batch {found} instead of {sorted(allowed.get(offset, {0}))};"
                         f" synced {synced}, seed {seed}")


class VolatileDisk:
    """The disk server of one guest."""

    def __init__(self, work, file, seed):
        self.socket = work / "disk.sock"
        self.socket.unlink(missing_ok=True)
        self.drive = f"file=nbd+unix:///?socket={self.socket},format=raw,if=virtio,discard=unmap"
        script = Path(__file__).resolve().parent / "volatile_disk.py"
        self.process = subprocess.Popen([sys.executable, script, self.socket, file, str(seed)], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        for _ in range(200):
            if self.socket.exists():
                return self
            time.sleep(0.02)
        raise TimeoutError("the disk server did not start")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def end(self):
        """Waits until the cut is on the file; returns what it says."""
        return self.process.communicate(timeout=60)[0].strip()
