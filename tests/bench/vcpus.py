"""What a guest's processors cost, seen from outside: the time of qemu's threads, and the instructions that ran.

The guest's own clocks also count the time in which this machine did not let it run; these do not.
"""
import os
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "instructions.c"
# The layout of instructions.c.
LINE, FILE_BYTES = 64, 4096


@dataclass(frozen=True)
class Reading:
    """Monotonic seconds, seconds of the processors' threads, instructions of programs and of the kernel."""
    time: float
    cpu: float
    user: int
    kernel: int

    def since(self, earlier):
        return Reading(self.time - earlier.time, self.cpu - earlier.cpu, self.user - earlier.user, self.kernel - earlier.kernel)


def build_plugin(folder):
    """Compiles the plugin that counts; returns its path."""
    plugin = Path(folder) / "instructions.so"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", plugin, SOURCE], check=True)
    return plugin


class Vcpus:
    """The processors of a running guest."""

    def __init__(self, pid, counts=None):
        """counts: the file that the plugin writes, if the guest has the plugin."""
        self._counts = counts
        # Named so by -name debug-threads=on.
        self._threads = [path for path in Path(f"/proc/{pid}/task").iterdir()
                         if (path / "comm").read_text().startswith(("CPU ", "ALL CPUs"))]
        if not self._threads:
            raise SystemExit("bench: qemu's threads have no names: which are the processors is not known")

    def read(self):
        user = kernel = 0
        if self._counts:
            content = Path(self._counts).read_bytes()
            for offset in range(0, FILE_BYTES, LINE):
                words = struct.unpack_from("<QQ", content, offset)
                user, kernel = user + words[0], kernel + words[1]
        return Reading(time.monotonic(), sum(self._seconds(thread) for thread in self._threads), user, kernel)

    @staticmethod
    def _seconds(thread):
        # The first number of schedstat is nanoseconds on a processor; stat's clock ticks are the coarse way.
        try:
            return int((thread / "schedstat").read_text().split()[0]) / 1e9
        except FileNotFoundError:
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
