"""The shutdown cases: a machine is booted by systemd as a Debian system is, with devices of ours, and told to power off.

Everything is mounted and has unwritten data. The machine has to be off within a bound. Then the host looks at its disk: every file
system was unmounted, every image is sound, and what was written is there.
"""

import random
import subprocess
import tempfile
import time
from pathlib import Path

from guest import SPLAT, BootFailure, Guest

SHUTDOWN = "shutdown"
ROOT = Path(__file__).resolve().parents[2]

# What systemd itself allows a unit to take is 90 s; on an emulated machine everything takes longer.
BOOT_SECONDS, OFF_SECONDS = 120, 150
BYTES = 8 << 20

# name: how it comes to be attached and mounted.
#   fstab: named in /etc/fstab alone, on an image whose own file system is in /etc/fstab, too
#   part-1: its partition, in the same way
#   unit: its unit was started, mounted by hand
#   hand: attached and mounted by hand; its server is killed while the machine goes down, with the unit that started it
#   lost: mounted by hand; its unit was stopped all the same, so that nobody serves it
#   held: mounted by hand, and used by somebody whom nothing stops
CLEAN, HELD = ("fstab", "part-1", "unit", "hand", "lost"), ("held",)

BEFORE_BOOT = """
mkdir -p /run/m/data /run/udev/rules.d
for name in fstab unit hand lost held part-1; do mkdir -p /run/m/$name; done
for name in fstab unit lost held part-1; do
    printf 'IMAGE="/run/m/data/our images/%s.qcow2"\\nOPTIONS=--transport %s --log-level info\\n' $name $TRANSPORT >/etc/qcow2blk/$name.conf
done
printf '%s\\n' '/dev/vdc /run/m/data ext4 discard 0 2' '/dev/qcow2blk/fstab /run/m/fstab ext4 defaults 0 2' \\
    '/dev/qcow2blk/part-1-part1 /run/m/part-1 ext4 defaults 0 2' >/etc/fstab
for file in udev/60-qcow2blk.rules:udev/rules.d systemd/qcow2blk@.service:systemd/system \\
        systemd/qcow2blk-shutdown.service:systemd/system systemd/qcow2blk-generator:systemd/system-generators; do
    sed "s,@bindir@,$PAYLOAD/bin,g" "$PAYLOAD/${file%:*}" >"/run/${file#*:}/$(basename "${file%:*}")"
done
chmod 755 /run/systemd/system-generators/*
"""

JOB = """
. "$PAYLOAD/guest/lib.sh"
trap - EXIT
require_transport
echo "boot: $(systemctl is-system-running --wait) $(systemctl list-units --failed --plain --no-legend | tr '\\n' ' ')"
mountpoint -q /run/m/fstab || { journalctl -b --no-pager | tail -60; fail "not mounted at boot"; }
for name in unit lost held; do
    systemctl start qcow2blk@$name
    mount $(status_of $name .device) /run/m/$name
done
mount $(qcow2blk attach --transport $TRANSPORT --log-level info "/run/m/data/our images/hand.qcow2") /run/m/hand
systemd-run -q --unit=holder -p DefaultDependencies=no -p WorkingDirectory=/run/m/held sleep 1000
settle
for name in $NAMES; do
    python3 -c "import random,sys; sys.stdout.buffer.write(random.Random('$name').randbytes($BYTES))" >/run/m/$name/data
done
systemctl stop qcow2blk@lost
expect_equal "state of the device whose unit was stopped" failed "$(systemctl show -P ActiveState qcow2blk@lost)"
expect_equal "who looks after devices" active "$(systemctl show -P ActiveState qcow2blk-shutdown.service)"
echo "off"
systemctl start poweroff.target --no-block --job-mode=replace-irreversibly
sleep 100
"""


class Damage(Exception):
    """What went wrong in a shutdown."""


def run_shutdown(kernel, case, binary, tally, log):
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="qcow2blk-off.", dir=kernel.folder) as folder:
        disk = Path(folder) / "disk.img"
        try:
            _make_disk(disk, Path(folder) / "files")
            reason = _boot_and_power_off(kernel, case, binary, disk, log)
            if reason:
                tally.skips(kernel, case.name, reason)
                return
            _check(disk, Path(folder), log)
        except (Damage, TimeoutError, BootFailure) as damage:
            log.add(f"FAILED: {damage or 'the machine hung'}")
            tally.fails(kernel, case.name, str(damage) or "the machine hung", log)
            return
    tally.passes(kernel, case.name, time.monotonic() - started)


def _make_disk(disk, files):
    """A file system with an image for each device, and in each image a file system."""
    images = files / "our images"
    images.mkdir(parents=True)
    raw = files.parent / "raw"
    for name in CLEAN + HELD:
        start = 1 << 20 if name == "part-1" else 0
        with open(raw, "wb") as file:
            file.truncate(64 << 20)
        if start:
            subprocess.run(["/usr/sbin/sfdisk", "-q", raw], input="2048,,L\n", text=True, check=True)
        subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-F", "-E", f"offset={start}", raw, f"{((64 << 20) - start) >> 10}k"], check=True)
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, images / f"{name}.qcow2"], check=True)
    raw.unlink()
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", files, disk, "1G"], check=True)


def _boot_and_power_off(kernel, case, binary, disk, log):
    """Returns None when the machine is off, or why the case cannot be run."""
    before = Path(disk).parent / "before-boot"
    before.write_text(BEFORE_BOOT)
    names = " ".join(CLEAN + HELD)
    job = f"NAMES='{names}' BYTES={BYTES}\n{JOB}"
    with Guest(kernel, job, binary, data=disk, files=[(before, "files/before-boot")],
               settings={"TRANSPORT": case.transport, "INIT": "boot"}) as guest:
        try:
            return _follow(guest, log)
        finally:
            for line in guest.console_text().splitlines()[-60:]:
                log.add(f"console: {line}")


def _follow(guest, log):
    deadline, off = time.monotonic() + BOOT_SECONDS, None
    while (line := guest.next_line(deadline)) is not None:
        log.add(line)
        if line.startswith("SKIP: "):
            return line.removeprefix("SKIP: ")
        if line.startswith("FAILED: "):
            raise Damage(line.removeprefix("FAILED: "))
        if line == "off":
            off = time.monotonic()
            deadline = off + OFF_SECONDS
    if off is None:
        raise Damage("the machine ended before it was told to")
    log.add(f"the machine was off after {time.monotonic() - off:.1f} s")
    splat = next((line for line in guest.console_text().splitlines() if SPLAT.search(line)), None)
    if splat:
        raise Damage(f"the kernel complained: {splat}")
    return None


def _check(disk, work, log):
    _expect_unmounted(disk, "the file system of the images")
    for name in CLEAN + HELD:
        image, raw = work / f"{name}.qcow2", work / f"{name}.raw"
        subprocess.run(["/usr/sbin/debugfs", "-R", f'dump "/our images/{name}.qcow2" {image}', disk], check=True, capture_output=True)
        checked = subprocess.run(["qemu-img", "check", image], capture_output=True, text=True)
        if checked.returncode != 0:
            raise Damage(f"{name}: qemu-img check (status {checked.returncode}): {(checked.stdout + checked.stderr)[-400:]}")
        subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True, capture_output=True)
        if name == "part-1":
            raw.write_bytes(raw.read_bytes()[1 << 20:])
        if name not in HELD:
            _expect_unmounted(raw, name)
        # 0: clean, 1: the journal was replayed
        repaired = subprocess.run(["/usr/sbin/e2fsck", "-fy", raw], capture_output=True, text=True)
        if repaired.returncode > 1:
            raise Damage(f"{name}: e2fsck: {repaired.stdout[-300:]}")
        found = subprocess.run(["/usr/sbin/debugfs", "-R", "cat /data", raw], check=True, capture_output=True).stdout
        if found != random.Random(name).randbytes(BYTES):
            raise Damage(f"{name}: {len(found)} bytes were found, not what was written")
        log.add(f"{name}: whole")


def _expect_unmounted(disk, what):
    features = subprocess.run(["/usr/sbin/dumpe2fs", "-h", disk], check=True, capture_output=True, text=True).stdout
    if "needs_recovery" in features:
        raise Damage(f"{what} was not unmounted")
