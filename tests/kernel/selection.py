"""The cases: what stands in the first lines of the scripts in cases/.

    # promise: what holds if the case passes
    # transports: ublk nbd     the case runs once with each (default); or one of them, or "any" if it does not matter
    # seconds: 180             time limit, far beyond what it takes on a quiet machine
    # also: nbd                runs with kernel NBD on kernels that have ublk, too (default: there with --full only)
    # short: ublk              the transports with which it belongs to the short set (default: none)
    # memory: 1024             MiB of the guest
    # processors: 1            of the guest (default 2). Two guests of two on a host of two wait for each other's processors
    #                          nearly half of their time: one is for cases that are not about requests side by side
    # kernel: audit=1          options of the guest's kernel instead of the usual ones (guest.py)
    # init: systemd            the guest's process 1 (default: a script)
"""

import re
from dataclasses import dataclass
from pathlib import Path

from guest import USUAL_OPTIONS
from powercut import POWER_CUT
from shutdown import SHUTDOWN

FOLDER = Path(__file__).resolve().parent / "cases"


@dataclass(frozen=True)
class Case:
    """One run of a script with one transport."""

    name: str
    file: str
    transport: str
    promise: str
    seconds: int
    memory: int
    short: bool
    also: bool
    init: str = ""
    processors: int = 2
    kernel_options: str = USUAL_OPTIONS

    @property
    def machine(self):
        """What the guest has to be like: cases that want the same one share it."""
        return self.memory, self.processors, self.init, self.kernel_options

    def runs_on(self, kernel, full):
        """Whether it is worth its time: what the engine does is seen over ublk, where there is ublk."""
        return full or self.transport != "nbd" or self.also or not kernel.has_module("ublk_drv")


def select(short, only):
    """The cases in order: all, or the short set; of these only those whose names contain one of `only`."""
    found = [case for path in sorted(FOLDER.glob("[0-9]*.sh")) for case in _read(path)]
    found += [Case(f"power-cut/{transport}", POWER_CUT, transport,
                   "what was synced before a power cut is there after it, and the image is sound", 0, 512, transport == "ublk", False)
              for transport in ("ublk", "nbd")]
    found += [Case(f"shutdown/{transport}", SHUTDOWN, transport,
                   "a machine booted by systemd, with mounted devices and unwritten data, powers off soon and loses nothing", 0, 1024,
                   False, False)
              for transport in ("ublk", "nbd")]
    chosen = [case for case in found if (case.short or not short) and (not only or any(word in case.name for word in only))]
    if not chosen:
        raise SystemExit("no case has such a name")
    return chosen


def _read(path):
    names = "promise|transports|seconds|short|also|memory|init|processors|kernel"
    facts = dict(re.findall(rf"^# ({names}): (.*)$", path.read_text(), re.MULTILINE))
    name = re.sub(r"^\d+-", "", path.stem)
    transports = facts.get("transports", "ublk nbd").split()
    for transport in transports:
        yield Case(name if transport == "any" else f"{name}/{transport}", path.name, transport, facts["promise"],
                   int(facts.get("seconds", 180)), int(facts.get("memory", 1024)), transport in facts.get("short", "").split(),
                   transport in facts.get("also", "").split(), facts.get("init", ""), int(facts.get("processors", 2)),
                   facts.get("kernel", USUAL_OPTIONS))
