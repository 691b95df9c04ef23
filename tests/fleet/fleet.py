#!/usr/bin/python3
"""One image in a web server, many nodes that boot from it: how long that takes, and what it asks of the server.

fleet.py [--nodes N] [--rtt MS] [--rate MBIT] [--fleet-rate MBIT] [--network auto|namespaces|user] [--demo] [--json FILE]

Every node has its own link to the server (network.py), its own cache, and an overlay of its own; what it reads is a recorded boot
(boot-reads.txt), compared byte by byte. The first table is of one node, beside qemu-nbd with its curl driver and nbdkit with its
curl plugin and cache filter where those are installed; the second is of all nodes at once.
"""

import argparse
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boot
import network
from network import PYTHON
from programs import RUNNING, Failed, run, wait_for

HERE = Path(__file__).resolve().parent
QCOW2BLK = os.environ.get("QCOW2BLK_BINARY", str(HERE.parent.parent / "artifacts/qcow2blk"))
NGINX = next((place for place in ("/usr/sbin/nginx", "/usr/bin/nginx") if os.path.exists(place)), None)
# A server of ours, a client and two links' worth of connections for each node need descriptors; attaches are work for processors.
ATTACHES_AT_A_TIME = 4
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Web:
    """An nginx with the image, at an address; `command` starts it where that is."""

    def __init__(self, folder, address="127.0.0.1", command=()):
        self.folder, self.address, self.command, self.root = folder, address, command, folder / "www"
        self.root.mkdir()
        self.log = folder / "access.log"

    def start(self):
        probe = __import__("socket").socket()
        probe.bind(("127.0.0.1", 0))
        self.port = probe.getsockname()[1]
        probe.close()
        temporary = "".join(f"{name}_temp_path {self.folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(f"""
            daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 8192; pid {self.folder}/nginx.pid;
            error_log {self.folder}/error.log; events {{ worker_connections 4096; }}
            http {{ {temporary} log_format sent "$body_bytes_sent"; access_log {self.log} sent; sendfile on; keepalive_requests 1000000;
              server {{ listen {self.address}:{self.port} backlog=1024; root {self.root}; }} }}
            """)
        self.process = subprocess.Popen([*self.command, NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")],
                                        stderr=subprocess.DEVNULL)
        wait_for(lambda: self.log.exists(), "nginx to start")

    def traffic(self):
        """Requests that were answered, and bytes that were sent, since the last call."""
        lines = self.log.read_text().split()
        with open(self.log, "w"):
            pass
        return len(lines), sum(map(int, lines))


class Scene:
    """The files and processes of a run."""

    def __init__(self, arguments, folder, net):
        self.arguments, self.folder, self.network = arguments, folder, net
        self.record = boot.Boot(arguments.boot)
        self.processes, self.count = [], 0
        self.environment = {**os.environ, "QCOW2BLK_RUNTIME_DIR": str(folder / "run"), "QCOW2BLK_CACHE_DIR": str(folder / "cache")}
        (folder / "run").mkdir(mode=0o700)

    def prepare(self):
        """Makes the image, publishes it, records a trace of it."""
        self.web = Web(self.folder, self.network.address, self.network.command)
        self.raw, self.image = self.web.root / "base.raw", self.web.root / "base.qcow2"
        self.image_bytes = self.record.make(self.raw, self.image)
        self.web.start()
        self.processes.append(self.web.process)
        self.manifest = run(QCOW2BLK, "manifest", self.image).split()[0]
        self.trace = self.folder / "trace"
        node = Node(self, network.Link("127.0.0.1", self.web.port, self.network.command))
        node.attach("--record-trace", self.trace)
        node.replay()
        node.detach()
        self.web.traffic()

    def links(self, count, rate):
        """Links to the server."""
        return self.network.links(self.web.port, self.arguments.rtt, rate, count)

    def end(self):
        """Ends what runs. Whoever is impatient meanwhile is not heard."""
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)
        if os.path.exists(QCOW2BLK):
            subprocess.run([QCOW2BLK, "detach", "--all", "--force"], env=self.environment, capture_output=True, check=False)
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.network.end()


class Node:
    """A machine of the fleet: an overlay, a cache, a link."""

    def __init__(self, scene, link):
        scene.count += 1
        self.scene, self.link = scene, link
        self.folder = scene.folder / f"node{scene.count}"
        self.folder.mkdir()
        self.name, self.overlay, self.socket = self.folder.name, self.folder / "disk.qcow2", self.folder / "s"
        run(QCOW2BLK, "create", self.overlay, scene.record.size, "--backing", "http://store.example/base.qcow2", "--backing-format",
            "qcow2")

    @property
    def uri(self):
        return f"nbd+unix:///?socket={self.socket}"

    def attach(self, *options):
        """Attaches, and returns how long that took. Insecure: without a manifest, http is only for the loopback interface otherwise."""
        began = time.monotonic()
        run(*self.link.command, QCOW2BLK, "attach", self.overlay, "--base", self.link.url("base.qcow2"), "--insecure", "--name", self.name,
            "--socket", self.socket, "--cache-dir", self.folder / "cache", *options, env=self.scene.environment)
        return time.monotonic() - began

    def attach_local(self):
        """The same with the image on the node."""
        began = time.monotonic()
        run(QCOW2BLK, "attach", self.overlay, "--backing", self.scene.image, "--name", self.name, "--socket", self.socket,
            env=self.scene.environment)
        return time.monotonic() - began

    def replay(self):
        """Boots, and returns how long its reads took."""
        return replay(self.scene, self.uri)

    def status(self):
        return json.loads(run(QCOW2BLK, "status", self.name, "--json", env=self.scene.environment))["bases"][0]

    def detach(self):
        run(QCOW2BLK, "detach", self.name, env=self.scene.environment)


def replay(scene, uri):
    return float(run(PYTHON, HERE / "replay.py", uri, scene.raw, scene.arguments.boot))


class Table:
    """Rows with the same cells."""

    def __init__(self, title, *columns):
        print(f"\n{title}\n" + "".join(f"{name:>{width}}" if i else f"{name:<{width}}" for i, (name, width) in enumerate(columns)))
        self.columns, self.rows = columns, []

    def add(self, *cells):
        self.rows.append(dict(zip((name for name, _ in self.columns), cells)))
        print("".join(f"{shown(cell):>{width}}" if i else f"{shown(cell):<{width}}"
                      for i, (cell, (_, width)) in enumerate(zip(cells, self.columns))), flush=True)


def shown(cell):
    return "-" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def one_node(scene):
    """One node, cold, with a trace, warm; and others."""
    arguments, megabyte = scene.arguments, 1e6
    print(f"\nA boot reads {scene.record.bytes_read / megabyte:.0f} MB in {len(scene.record.reads)} reads, of an image of"
          f" {scene.image_bytes / megabyte:.0f} MB. The link: {arguments.rtt:g} ms, {arguments.rate:g} Mbit/s.")
    table = Table("One node", ("", 34), ("attach s", 10), ("boot s", 10), ("MB fetched", 12), ("% of image", 12), ("requests", 10))

    def measure(name, attach, boots, detach):
        attached, took = attach(), boots()
        requests, sent = scene.web.traffic()
        table.add(name, attached, took, sent / megabyte, 100 * sent / scene.image_bytes, requests)
        detach()
        return attached, took, sent

    def ours(name, *options, node=None):
        node = node or Node(scene, scene.links(1, arguments.rate)[0])
        return node, *measure(name, lambda: node.attach(*options), node.replay, node.detach)

    ours("qcow2blk, cold")
    ours("qcow2blk, cold, chunks of 64K", "--chunk-size", "64K")
    node, attached, traced, sent = ours("qcow2blk, cold, with a trace", "--trace", scene.trace)
    ours("qcow2blk, cold, trace, --sha256", "--trace", scene.trace, "--sha256", scene.manifest)
    _, _, warm, _ = ours("qcow2blk, warm", node=node)
    local = Node(scene, None)
    _, here, _ = measure("qcow2blk, image on the node", local.attach_local, local.replay, local.detach)
    for other in () if arguments.demo and not arguments.others else (qemu_nbd, nbdkit):
        other(scene, measure)
    # Bytes that the trace named, over the link, and five round trips.
    ideal = sent * 8 / (arguments.rate * 1e6) + 5 * arguments.rtt / 1000
    print(f"\ncold with a trace, attach included: {attached + traced:.2f} s; bytes over the link's rate and five round trips:"
          f" {ideal:.2f} s; ratio {(attached + traced) / ideal:.2f} (wanted: 1.3 at most)")
    print(f"warm: {warm:.2f} s; image on the node: {here:.2f} s; fetched {100 * sent / scene.image_bytes:.1f} % of the image, of which"
          f" the boot alone reads {100 * scene.record.bytes_read / scene.image_bytes:.1f} % (wanted: under 10 %)")
    return {"rows": table.rows, "ideal": ideal}


def qemu_nbd(scene, measure):
    """qemu-nbd over its curl driver: no cache, a request for each read and what it reads ahead."""
    if not any(os.path.exists(f"{folder}/block-curl.so") for folder in ("/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu")):
        print("(qemu-nbd has no curl driver here: Debian's qemu-block-extra brings it)")
        return
    link, socket = scene.links(1, scene.arguments.rate)[0], scene.folder / "qemu.sock"
    description = {"driver": "qcow2", "file": {"driver": "http", "url": link.url("base.qcow2"), "timeout": 60}}
    serve(scene, "qemu-nbd, curl driver", measure, socket, *link.command, "qemu-nbd", "-r", "-t", "-k", socket,
          "json:" + json.dumps(description))


def nbdkit(scene, measure):
    """nbdkit's curl plugin behind its cache filter, which reads no qcow2: the raw disk."""
    if not shutil.which("nbdkit"):
        print("(nbdkit is not installed)")
        return
    link, socket = scene.links(1, scene.arguments.rate)[0], scene.folder / "nbdkit.sock"
    serve(scene, "nbdkit curl, cache filter (raw)", measure, socket, *link.command, "nbdkit", "-f", "-r", "-U", socket, "--filter=cache",
          "curl", link.url("base.raw"), "cache-on-read=true")


def serve(scene, name, measure, socket, *command):
    """Measures another server."""
    def attach():
        began = time.monotonic()
        scene.processes.append(subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(socket.exists, f"{name} to listen")
        return time.monotonic() - began

    measure(name, attach, lambda: replay(scene, f"nbd+unix:///?socket={socket}"), lambda: None)


def all_nodes(scene):
    """All nodes at once: attached, then booted at the same instant."""
    arguments = scene.arguments
    nodes = [Node(scene, link) for link in scene.links(arguments.nodes, arguments.fleet_rate)]
    scene.web.traffic()
    with ThreadPoolExecutor(ATTACHES_AT_A_TIME) as pool:
        attached = list(pool.map(lambda node: node.attach("--trace", scene.trace), nodes))
    with ThreadPoolExecutor(len(nodes)) as pool:
        booted = list(pool.map(Node.replay, nodes))
    requests, sent = scene.web.traffic()
    resident = statistics.median(memory(scene, node) for node in nodes)
    table = Table(f"{len(nodes)} nodes, each {arguments.rtt:g} ms and {arguments.fleet_rate:g} Mbit/s from the server, with a trace",
                  ("", 34), ("median", 10), ("slowest", 10))
    table.add("attach s", statistics.median(attached), max(attached))
    table.add("boot s", statistics.median(booted), max(booted))
    table.add("MB from the server, a node", sent / len(nodes) / 1e6, None)
    table.add("requests to the server, a node", requests / len(nodes), None)
    table.add("memory of a node's server, MB", resident, None)
    with ThreadPoolExecutor(ATTACHES_AT_A_TIME) as pool:
        list(pool.map(Node.detach, nodes))
    return {"rows": table.rows}


def memory(scene, node):
    status = json.loads(run(QCOW2BLK, "status", node.name, "--json", env=scene.environment))
    return status["memory"]["resident-bytes"] / 1e6


def fleet_size(text):
    """A number of nodes."""
    if not 1 <= int(text) <= network.MOST_NODES:
        raise argparse.ArgumentTypeError(f"{text}: not from 1 to {network.MOST_NODES}")
    return int(text)


def positive(text):
    """A rate."""
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: not larger than 0")
    return float(text)


def distance(text):
    """A round trip."""
    if not 0 <= float(text) <= 60_000:
        raise argparse.ArgumentTypeError(f"{text}: not from 0 to 60000")
    return float(text)


def read_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nodes", type=fleet_size, default=200, help="how many at once")
    parser.add_argument("--rtt", type=distance, default=20, help="milliseconds of a round trip")
    parser.add_argument("--rate", type=positive, default=100, help="Mbit/s of the single node's link")
    parser.add_argument("--fleet-rate", type=positive, default=10, help="Mbit/s of each link of the fleet: all of them are on this machine")
    parser.add_argument("--network", choices=network.WAYS, default="auto", help="links of network namespaces and netem, or of user space;"
                        " auto: namespaces where they can be made")
    parser.add_argument("--boot", type=Path, default=boot.RECORD, metavar="FILE", help="a recorded boot")
    parser.add_argument("--demo", action="store_true", help="a few nodes, in less than two minutes")
    parser.add_argument("--others", action="store_true", help="measure others in the demo, too")
    parser.add_argument("--json", type=Path, help="write all figures to this file, too")
    arguments = parser.parse_args(words)
    if arguments.demo:
        arguments.nodes, arguments.fleet_rate = min(arguments.nodes, 10), max(arguments.fleet_rate, 50)
    return arguments


def stop(number, _):
    """Ends what runs in the foreground, and then this program, which tidies up."""
    for process in tuple(RUNNING):
        process.kill()
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    arguments = read_arguments()
    if NGINX is None:
        print("fleet: nginx is not installed", file=sys.stderr)
        return 1
    try:
        choice = network.choose(arguments.network)
    except Failed as failure:
        print(f"fleet: {failure}", file=sys.stderr)
        return 1
    if choice.command:
        os.execvp(choice.command[0], [*choice.command, sys.executable, __file__, *sys.argv[1:]])
    print(choice, flush=True)
    began = time.monotonic()
    for number in STOPS:
        # What is ignored (nohup) stays so.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        figures = measure_all(arguments, choice)
    except Failed as failure:
        print(f"fleet: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"fleet: ended by {interrupt}", file=sys.stderr)
        return 130
    print(f"\nEvery byte that was read was compared. {time.monotonic() - began:.0f} s in all.")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def measure_all(arguments, choice):
    """The figures of a run; whatever its end is, nothing is left of it."""
    with tempfile.TemporaryDirectory(prefix="qcow2blk-fleet.", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        net = choice.make()
        scene = Scene(arguments, Path(folder), net)
        try:
            scene.prepare()
            return {"network": net.name, "one-node": one_node(scene), "all-nodes": all_nodes(scene)}
        finally:
            scene.end()


if __name__ == "__main__":
    sys.exit(main())
