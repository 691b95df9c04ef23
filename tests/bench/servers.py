"""The servers that are compared: how to start one on an image, watch it and stop it."""
import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass

import nbd_client

EXPORT = "bench"
BEFORE = "before"
LIMITED = "limited"
START_LIMIT = 30
STOP_LIMIT = 20
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Kind:
    """A server and its options; the command has the placeholders {image}, {socket} and {export}.

    A server with a stop command is one that goes into the background by itself. The encrypted command has {key}, too.
    """
    name: str
    command: str
    stop_command: str = ""
    encrypted_command: str = ""

    def start(self, image, folder, key=None):
        """Starts the server and waits until it has answered a read. The key is a file, for an encrypted image."""
        return Running(self, image, folder, key)


def ours(binary, name="qcow2blk"):
    command = f"{shlex.quote(binary)} attach {{image}} --socket {{socket}} --name {{export}} --foreground"
    return Kind(name, command, encrypted_command=command + " --key-file {key}")


def before(binary):
    """Another build of ours."""
    return ours(binary, BEFORE)


def limited(binary):
    """Ours with limits that are never reached: each request is counted, none waits."""
    kind = ours(binary, LIMITED)
    return Kind(kind.name, f"{kind.command} --iops 10000000 --bandwidth 1T")


def ours_in_background(binary):
    """As users start it: the command returns, a server stays."""
    command = ours(binary).command.removesuffix(" --foreground")
    return Kind("qcow2blk", command, f"{shlex.quote(binary)} detach {EXPORT}")


def qemu_nbd(options):
    command = f"qemu-nbd -t -e 0 -x {{export}} {options} -k {{socket}}"
    encrypted = "driver=qcow2,encrypt.format=luks,encrypt.key-secret=key,file.driver=file,file.filename={image}"
    return Kind("qemu-nbd " + options, command + " -f qcow2 {image}",
                encrypted_command=f"{command} --object secret,id=key,file={{key}} --image-opts {encrypted}")


RIVALS = {
    "io_uring": qemu_nbd("--aio=io_uring --cache=none"),
    "native": qemu_nbd("--aio=native --cache=none"),
    "threads": qemu_nbd("--aio=threads --cache=writeback"),
}


class Running:
    """A started server. Its processor time counts all its threads and children, the kernel's workers included."""

    def __init__(self, kind, image, folder, key=None):
        self.kind = kind
        self.socket = os.path.join(folder, "nbd.sock")
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        words = [word.format(image=image, socket=self.socket, export=EXPORT, key=key)
                 for word in shlex.split(kind.encrypted_command if key else kind.command)]
        # Apart from the NBD socket: a control socket is named after its device.
        runtime = os.path.join(folder, "run")
        os.makedirs(runtime, exist_ok=True)
        self._environment = dict(os.environ, QCOW2BLK_RUNTIME_DIR=runtime, QCOW2BLK_CACHE_DIR=os.path.join(folder, "cache"))
        self._errors = open(os.path.join(folder, "server.log"), "w+b")
        begin = time.monotonic()
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=self._errors, close_fds=False,
                                         env=self._environment)
        try:
            self._wait_for_first_byte()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self.first_byte_seconds = time.monotonic() - begin

    @property
    def uri(self):
        return f"nbd+unix:///{EXPORT}?socket={self.socket}"

    def _wait_for_first_byte(self):
        end = time.monotonic() + START_LIMIT
        while True:
            try:
                nbd_client.read_once(self.socket, EXPORT)
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if self._process.poll() not in (None, 0):
                    raise SystemExit(f"bench: {self.kind.name} ended at once: {self.last_words()}") from None
                if time.monotonic() > end:
                    raise SystemExit(f"bench: {self.kind.name} did not listen within {START_LIMIT} s") from None
                time.sleep(0.0002)
            except OSError as error:
                raise SystemExit(f"bench: {self.kind.name} does not serve: {error}; {self.last_words()}") from None

    def last_words(self):
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-500:]

    def _pids(self):
        pids = [self._process.pid]
        for pid in pids:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                pids += map(int, file.read().split())
        return pids

    def cpu_seconds(self):
        """User and system time so far of every thread of the server."""
        ticks = 0
        for pid in self._pids():
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / CLOCK_TICKS

    def resident_bytes(self):
        total = 0
        for pid in self._pids():
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                total += sum(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))
        return total

    def stop(self):
        """Ends the server as its user would, by detach or SIGTERM; one that does not end well is told about."""
        try:
            if self.kind.stop_command:
                # The socket answers a moment before the command that opened it returns.
                if self._process.wait(STOP_LIMIT) != 0:
                    raise SystemExit(f"bench: {self.kind.name} failed: {self.last_words()}")
                done = subprocess.run(shlex.split(self.kind.stop_command), capture_output=True, text=True, check=False,
                                      env=self._environment)
                if done.returncode != 0:
                    raise SystemExit(f"bench: {self.kind.stop_command} failed: {done.stderr.strip()}")
            elif self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
            status = self._process.wait(STOP_LIMIT)
            if status != 0:
                raise SystemExit(f"bench: {self.kind.name} ended with status {status}: {self.last_words()}")
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise SystemExit(f"bench: {self.kind.name} did not end within {STOP_LIMIT} s of SIGTERM") from None
        finally:
            self._errors.close()
