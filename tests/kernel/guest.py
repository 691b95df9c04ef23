"""A guest: one run of qemu with a kernel, the root disk, a payload and a data disk.

No hardware virtualization is needed. The guest has two ways to the host: the serial console, which carries the
kernel's messages, and a virtio port named "out", which carries the output of the job.
"""

import io
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import rootdisk

HERE = Path(__file__).resolve().parent

# What a healthy kernel never prints. A line of the console that matches fails the case that ran.
SPLAT = re.compile(r"Call Trace|BUG:|blocked for more than|WARNING: |Oops|Kernel panic|general protection|"
                   r"refcount_t:|soft lockup|rcu.*detected.*stall|hung_task")

# What is known of emulated processors that patch code under each other: what ran is run again, once.
EMULATOR_FAULT = "Oops: int3"

# erms, fsrm: with them the guest clears and copies memory by "rep stosb" and "rep movsb", of which the emulator does a byte a
# turn. Without them it is eight bytes a turn, or more: attach alone takes half the time.
CPU = "max,-la57,-smap,-smep,-pku,-umip,-erms,-fsrm"

# The same fault hits one boot in forty (the kernel turns its clock's static branch over), before anything of ours runs:
# such a guest is started again.
BOOT_ATTEMPTS = 3
BOOT_SECONDS = 90

KERNEL_OPTIONS = ("console=ttyS0 quiet loglevel=5 panic=-1 oops=panic mitigations=off nokaslr "
                  "random.trust_cpu=on tsc=reliable no_timer_check cryptomgr.notests "
                  # The emulator keeps translated code by its address: at random ones every program is translated anew
                  # (attach and detach took 1.2 s of processor time instead of 0.6 s).
                  "norandmaps "
                  # Zeroing what the kernel allocates for itself is a tenth of the time of attach and detach.
                  "init_on_alloc=0 "
                  # cx16: qemu 7.2's cmpxchg16b leaves wrong flags behind at times, which kills kernels while they boot.
                  # Programs need the instruction (the .NET runtime looks at what it stored, not at the flags).
                  "clearcpuid=cx16 "
                  # Emulation stops a processor for seconds at times: that is no lockup.
                  "nowatchdog rcupdate.rcu_cpu_stall_timeout=120 systemd.log_level=warning")

# What most cases can do without. (The kernel takes no "audit=1" after it.)
USUAL_OPTIONS = "audit=0"


class BootFailure(SystemExit):
    """The kernel did not come as far as the job, in any of its attempts."""


class Machine:
    """A running qemu. Use as a context manager: leaving ends it."""

    def __init__(self, work):
        self.work = work
        self.console = work / "console"
        self.exit_status = None
        self.process = None
        self._pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self, command):
        # stdin stays open: its end would look like a host that is gone, and the guest would wait for one.
        # Without us the machine ends, too, however we end.
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)

    def kill(self):
        """Cuts the power."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def send(self, text):
        """Text for the job's standard input, if it has one (reads_input)."""
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def lines(self, timeout):
        """Yields the lines that the job prints, until the guest ends. Raises TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            line = self.next_line(deadline)
            if line is None:
                return
            yield line

    def next_line(self, deadline):
        """The next line; None at the end of the guest. Raises TimeoutError at `deadline` (monotonic seconds)."""
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return None
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        text = line.decode(errors="replace").rstrip("\r")
        if text.startswith("@@exit "):
            self.exit_status = int(text.split()[1])
        return text

    def console_text(self):
        """What the kernel printed so far."""
        try:
            return self.console.read_text(errors="replace")
        except FileNotFoundError:
            return ""


class Guest(Machine):
    """Boots a guest and hands out the lines of its job."""

    def __init__(self, kernel, job, binary, *, data=None, memory=1024, processors=2, settings=None, files=(),
                 console=None, interactive=False, reads_input=False, disks=(), work=None,
                 kernel_options=USUAL_OPTIONS, emulator=(), accelerator="tcg,thread=multi", attempts=BOOT_ATTEMPTS):
        """job: text of the bash script that the guest runs as root.
        data: a file, or a whole -drive value; disks: further ones.
        settings: variables of the job; files: (path on this machine, name under /run/payload);
        work: where the guest's own files are kept;
        kernel_options: those that a case may want otherwise;
        emulator: further options of qemu, which win over ours;
        attempts: how often it is tried to boot. Raises BootFailure after the last."""
        self._is_temporary = work is None
        self._said = []
        super().__init__(work or Path(tempfile.mkdtemp(prefix="qcow2blk-guest.")))
        self.work.mkdir(exist_ok=True)
        self.console = Path(console) if console else self.console
        settings = {**(settings or {}), **({"JOB_READS_INPUT": "1"} if reads_input else {})}
        payload = self.work / "payload.tar"
        _write_payload(payload, job, binary, settings, files)
        self.command = [*_command(kernel, payload, self.console, data, memory, processors, disks, interactive, accelerator),
                        "-append", f"{KERNEL_OPTIONS} {kernel_options}", *emulator]
        if interactive:
            self.process = subprocess.Popen(self.command)
        elif not self._boot(kernel, attempts):
            self.__exit__()
            raise BootFailure(f"guest: linux {kernel.version} did not boot (attempts: {attempts}): {self._last_words()}")

    def __exit__(self, *_):
        self.kill()
        if self._is_temporary:
            shutil.rmtree(self.work, ignore_errors=True)

    def _boot(self, kernel, attempts):
        for attempt in range(1, attempts + 1):
            # A qemu that does not start leaves what the one before it wrote.
            self.console.unlink(missing_ok=True)
            self.start(self.command)
            if self._is_ready():
                return True
            self.kill()
            print(f"guest: linux {kernel.version} did not boot (attempt {attempt}): {self._last_words()}", file=sys.stderr)
        return False

    def _last_words(self):
        lines = self.console_text().split("\n") + self._said
        return next((line.strip() for line in lines if SPLAT.search(line)),
                    next((line.strip() for line in reversed(lines) if line.strip()), "no message"))

    def _is_ready(self):
        """Whether the guest came as far as the job."""
        self._pending, self._said = b"", []
        try:
            for line in self.lines(BOOT_SECONDS):
                if line == "@@ready":
                    return True
                self._said.append(line)
        except TimeoutError:
            self._said.append(f"no end after {BOOT_SECONDS} s")
        return False

    def save(self, state):
        """Writes the machine to the file `state` and ends it."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(120)
            control.connect(str(self.work / "qmp"))
            answers = control.makefile("rw")
            # Not stopped first: it would come back stopped.
            for command, arguments in (("qmp_capabilities", {}), ("migrate-set-parameters", {"max-bandwidth": 1 << 40}),
                                       ("migrate", {"uri": f"exec:cat >{state}"})):
                _ask(answers, command, arguments)
            while (status := _ask(answers, "query-migrate", {})["status"]) != "completed":
                if status == "failed":
                    raise RuntimeError("the machine could not be saved")
                time.sleep(0.05)
            _ask(answers, "quit", {})
        self.process.wait()
        (self.work / "command.json").write_text(json.dumps(self.command))


class SavedGuest(Machine):
    """A machine that goes on where Guest.save() left it, with the same command, and so with the same disks."""

    def __init__(self, work, state):
        super().__init__(work)
        self.start([*json.loads((work / "command.json").read_text()), "-incoming", f"exec:cat {state}"])


def _ask(answers, command, arguments):
    answers.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    answers.flush()
    for line in answers:
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"qemu: {command}: {answer['error']}")
        if "return" in answer:
            return answer["return"]
    raise RuntimeError(f"qemu ended at {command}")


def _command(kernel, payload, console, data, memory, processors, disks, interactive, accelerator):
    initramfs, root = rootdisk.prepare(kernel)
    drives = [f"file={root},format=raw,readonly=on,if=virtio", f"file={payload},format=raw,readonly=on,if=virtio"]
    if data:
        drives.append(data if "=" in str(data) else f"file={data},format=raw,if=virtio,cache=unsafe,discard=unmap")
    drives += disks
    return ["qemu-system-x86_64", "-accel", accelerator, "-cpu", CPU, "-machine", "pc", "-smp", str(processors),
            "-m", str(memory), "-nodefaults", "-no-reboot", "-display", "none", "-nic", "none",
            "-kernel", str(kernel.image), "-initrd", str(initramfs),
            *[text for drive in drives for text in ("-drive", drive)],
            "-device", "virtio-serial-pci",
            *(["-serial", "mon:stdio", "-chardev", "null,id=out"] if interactive
              else ["-serial", f"file:{console}", "-chardev", "stdio,id=out,signal=off"]),
            "-device", "virtserialport,chardev=out,name=out", "-qmp", f"unix:{payload.parent}/qmp,server=on,wait=off"]


def _write_payload(path, job, binary, settings, files):
    with tarfile.open(path, "w") as tar:
        def add(name, content, mode=0o755):
            entry = tarfile.TarInfo("payload/" + name)
            entry.size, entry.mode, entry.mtime = len(content), mode, int(time.time())
            tar.addfile(entry, io.BytesIO(content))
        add("job", job.encode())
        add("settings", "".join(f"export {name}={value}\n" for name, value in settings.items()).encode())
        if binary:
            tar.add(os.path.realpath(binary), "payload/bin/qcow2blk")
        for folder in ("guest", "cases"):
            if (HERE / folder).is_dir():
                tar.add(HERE / folder, "payload/" + folder)
        for folder in ("udev", "systemd", "apparmor"):
            tar.add(HERE.parents[1] / "packaging" / folder, "payload/" + folder)
        for source, name in files:
            tar.add(os.path.realpath(source), "payload/" + name)
