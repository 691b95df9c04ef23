"""The network of a fleet, in one of two ways: each node has a link of its own to the server, as far away and as narrow as it is told to be.

Namespaces: the server and each node have a network namespace, joined by a bridge in the server's; netem on both ends of each pair of
interfaces delays packets by half a round trip, and gives the rate towards the node. Nothing of the machine's own network is touched.
User space: all are on the loopback interface, and link.py delays what they send. That needs no rights, and nothing of the kernel.
"""

import os
import resource
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from programs import Failed, run

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
WAYS = ("auto", "namespaces", "user")

# tc and ip are where only root looks.
PATH = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
# Who is not root can be root of a user namespace, and make network namespaces there.
AS_ROOT = ["unshare", "--user", "--map-root-user"]
PROBE = """ip link set lo up
ip link add near type veth peer name far
ip link add bridge0 type bridge
ip link set near master bridge0
tc qdisc add dev near root netem delay 1ms rate 1mbit limit 1000"""

# A bridge has 1023 ports, and a few nodes are measured alone.
MOST_NODES = 1000
SERVER = "10.77.0.1"
SERVER_HARDWARE = "02:00:00:00:00:01"
# Packets that are on their way or wait for it, at least: what a usual interface has.
PACKETS = 1000
PACKET = 1500


@dataclass(frozen=True)
class Link:
    """The way of a node to the server: where the server is for it, and what its programs are started with."""

    address: str
    port: int
    command: tuple = ()

    def url(self, name):
        return f"http://{self.address}:{self.port}/{name}"


@dataclass(frozen=True)
class Choice:
    """Which network it is, and why; and what this program has to be started with for it."""

    has_namespaces: bool
    why: str
    command: tuple = ()

    def __str__(self):
        way = "namespaces, a veth pair with netem for each node" if self.has_namespaces else "user space (link.py)"
        return f"Network: {way}: {self.why}."

    def make(self):
        return Namespaces() if self.has_namespaces else UserSpace()


def obstacle(command=()):
    """Why network namespaces with netem cannot be made here; None if they can. Tries it in a namespace that is gone afterwards."""
    for program in ("unshare", "nsenter", "ip", "tc"):
        if shutil.which(program, path=PATH) is None:
            return f"there is no program {program}"
    done = subprocess.run([*command, "unshare", "--net", "sh", "-exc", PROBE], capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": PATH})
    if done.returncode == 0:
        return None
    lines = [line.removeprefix("+ ") for line in done.stderr.splitlines() if line]
    return ": ".join(lines[-2:]).rstrip(".") or f"status {done.returncode}"


def choose(wanted, probe=obstacle, is_root=None):
    """The network that is wanted, if there can be one."""
    if wanted == "user":
        return Choice(False, "as asked for")
    reason = probe()
    if reason is None:
        return Choice(True, "as asked for" if wanted == "namespaces" else "they can be made here")
    is_root = os.geteuid() == 0 if is_root is None else is_root
    if not is_root and probe(AS_ROOT) is None:
        return Choice(True, "they can be made here in a user namespace", tuple(AS_ROOT))
    if wanted == "namespaces":
        raise Failed(f"--network namespaces: {reason}")
    return Choice(False, f"network namespaces with netem cannot be made here: {reason}")


class UserSpace:
    """A link is a port of the loopback interface."""

    name, address, command = "user", "127.0.0.1", ()

    def __init__(self):
        self.processes = []

    def links(self, port, rtt, rate, count):
        """Opens links to a port of the server, of `rtt` milliseconds and `rate` Mbit/s."""
        process = subprocess.Popen([PYTHON, HERE / "link.py", str(port), str(rtt), str(rate), str(count)],
                                   stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return [Link(self.address, int(process.stdout.readline())) for _ in range(count)]

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdout.close()
        self.processes.clear()


class Namespace:
    """A network namespace. It is there as long as this file of it is open, or a process is in it."""

    def __init__(self):
        with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo && exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              start_new_session=True) as first:
            if not first.stdout.readline():
                raise Failed("no network namespace could be made")
            self.file = os.open(f"/proc/{first.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            first.stdin.close()
        self.path = f"/proc/{os.getpid()}/fd/{self.file}"
        self.command = ("nsenter", f"--net={self.path}")

    @property
    def identity(self):
        return os.fstat(self.file).st_ino

    def configure(self, *commands):
        run(*self.command, "sh", "-ec", "\n".join(("ip link set lo up", *commands)), env={**os.environ, "PATH": PATH})

    def end(self):
        os.close(self.file)


class Namespaces:
    """A link is a pair of interfaces: one is the node's, the other one is a port of the server's bridge."""

    name, address = "namespaces", "0.0.0.0"

    def __init__(self):
        # Each namespace is an open file.
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        self.nodes, self.server = [], Namespace()
        # A bridge without an address of its own would change it with its ports.
        self.server.configure(f"ip link add bridge0 address {SERVER_HARDWARE} type bridge", f"ip address add {SERVER}/16 dev bridge0",
                              "ip link set bridge0 up")

    @property
    def command(self):
        """What programs of the server are started with."""
        return self.server.command

    def links(self, port, rtt, rate, count):
        """Makes nodes with links to a port of the server, of `rtt` milliseconds and `rate` Mbit/s."""
        return [self._link(port, rtt, rate) for _ in range(count)]

    def _link(self, port, rtt, rate):
        node = Namespace()
        self.nodes.append(node)
        number = len(self.nodes)
        near, high, low = f"node{number}", number // 250 + 1, number % 250 + 1
        address, hardware = f"10.77.{high}.{low}", f"02:00:00:00:{high:02x}:{low:02x}"
        # What is on its way for a round trip must have room twice, or the queue would lose what the link could carry.
        limit = max(PACKETS, int(2 * rtt / 1000 * rate * 1e6 / 8 / PACKET))
        delay = f"netem limit {limit} delay {rtt / 2:f}ms"
        # Neighbours are known: nobody waits for a round trip of ARP, and the kernel's table of them, which is one for all namespaces,
        # does not run over.
        self.server.configure(f"ip link add {near} type veth peer name eth0 address {hardware} netns {node.path}",
                              f"tc qdisc add dev {near} root {delay} rate {rate:f}mbit",
                              f"ip link set {near} master bridge0 up",
                              f"ip neighbour add {address} lladdr {hardware} dev bridge0 nud permanent")
        node.configure(f"tc qdisc add dev eth0 root {delay}", f"ip address add {address}/16 dev eth0", "ip link set eth0 up",
                       f"ip neighbour add {SERVER} lladdr {SERVER_HARDWARE} dev eth0 nud permanent")
        return Link(SERVER, port, node.command)

    def end(self):
        """Ends what still runs in the namespaces, and with it the namespaces and all that is in them."""
        namespaces, self.nodes, self.server = [self.server, *self.nodes], [], None
        ours = {namespace.identity for namespace in namespaces if namespace} - {identity("/proc/self/ns/net")}
        for process in Path("/proc").glob("[0-9]*"):
            if identity(process / "ns/net") in ours:
                try:
                    os.kill(int(process.name), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for namespace in filter(None, namespaces):
            namespace.end()


def identity(path):
    """Which namespace it is; None if there is none any more, or it is not ours to see."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return None
