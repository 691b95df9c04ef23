"""Runs inside the virtual machine of kernel.py: attaches images, runs fio on the block devices, prints what it saw.

kernel_guest.py PLAN.json. Lines that begin with "@@" are for the host: "@@begin" and "@@end" frame a measured window (the host
then reads the processors' clocks), "@@sample", "@@absent" and "@@facts" carry JSON. Everything else is for people.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
ATTACH_LIMIT, DETACH_LIMIT, FIO_LIMIT = 60, 60, 300


def say(kind, content=None):
    print("@@" + kind + ("" if content is None else " " + json.dumps(content)), flush=True)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: status {done.returncode}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def until(what, limit, test):
    end = time.monotonic() + limit
    while not (result := test()):
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {limit} s")
        time.sleep(0.02)
    return result


def tree(pid):
    """A process and all below it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                pass
    return found


def seconds_of(pids):
    """User and system time of processes, the io_uring workers of the kernel that belong to them included."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def switches_of(pids):
    """How often the threads of processes gave up a processor or lost it."""
    total = 0
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            try:
                total += sum(int(count) for count in re.findall(r"ctxt_switches:\s+(\d+)", status.read_text()))
            except OSError:
                pass
    return total


def busy_seconds():
    """Time that the machine's processors were not idle (by the time they were: that is exact, the rest is sampled)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    idle = (int(fields[3]) + int(fields[4])) / TICK
    return time.clock_gettime(time.CLOCK_BOOTTIME) * os.cpu_count() - idle


class Server:
    """An attached image: the block device and the processes behind it."""

    def __init__(self, subject, image):
        self.subject, self.name = subject, subject["name"]
        self._log = open("/tmp/" + re.sub(r"\W+", "-", self.name) + ".log", "w+", encoding="utf-8")
        {"qemu": self._attach_qemu, "kernel": self._attach_kernel}.get(subject["kind"], self._attach_ours)(image)
        self._stat = Path("/sys/class/block", os.path.basename(self.device), "stat")
        self._tune()

    def _start(self, *command):
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True)

    def _attach_ours(self, image):
        self.process = self._start("qcow2blk", "attach", image, "--foreground", *self.subject["options"])
        line = self.process.stdout.readline().split()
        self.device = next((word for word in line if word.startswith("/dev/")), None)
        if not self.device:
            self.process.kill()
            raise RuntimeError(self.last_words() or "no device printed")
        self.pid = self.process.pid
        self._wait_for_size()

    def _attach_qemu(self, image):
        self.device = next(f"/dev/nbd{number}" for number in range(16) if not os.path.exists(f"/sys/block/nbd{number}/pid"))
        pid_file = Path("/tmp/" + os.path.basename(self.device) + ".pid")
        pid_file.unlink(missing_ok=True)
        run("qemu-nbd", "-c", self.device, "-f", "qcow2", *self.subject["options"], f"--pid-file={pid_file}", image)
        self.process = None
        until("qemu-nbd", ATTACH_LIMIT, lambda: pid_file.exists() and pid_file.read_text().strip())
        self.pid = int(pid_file.read_text())
        self._wait_for_size()

    def _attach_kernel(self, _):
        run("modprobe", "null_blk", *self.subject["options"])
        self.device, self.process, self.pid = "/dev/nullb0", None, None
        self._wait_for_size()

    def _wait_for_size(self):
        path = Path("/sys/class/block", os.path.basename(self.device), "size")
        until(self.device, ATTACH_LIMIT, lambda: path.exists() and int(path.read_text()) > 0 and os.path.exists(self.device))
        subprocess.run(["udevadm", "settle", "--timeout=20"], check=False)

    def _tune(self):
        """One scheduler for all: what the kernel picks depends on the number of queues, not on the server."""
        queue = Path("/sys/class/block", os.path.basename(self.device), "queue")
        (queue / "scheduler").write_text("none")

    def last_words(self):
        self._log.flush()
        self._log.seek(0)
        return self._log.read().strip()[-600:]

    def sectors(self):
        fields = self._stat.read_text().split()
        return int(fields[2]) + int(fields[6])

    def processes(self):
        return tree(self.pid) if self.pid else []

    def detach(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(DETACH_LIMIT)
        elif not self.pid:
            run("modprobe", "-r", "null_blk")
        else:
            run("qemu-nbd", "-d", self.device)
            until("qemu-nbd -d", DETACH_LIMIT, lambda: not os.path.exists(f"/proc/{self.pid}"))
        self._log.close()


class Bench:
    def __init__(self, plan):
        self.plan = plan
        self.folder = plan["folder"]

    def place(self):
        """Makes the file system that the images are on."""
        os.makedirs(self.folder, exist_ok=True)
        space = self.plan["space_mib"]
        if self.plan["placement"] == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", f"size={space}m", "bench", self.folder)
            return
        run("modprobe", "brd", "rd_nr=1", f"rd_size={space * 1024}")
        run("mkfs.xfs", "-q", "-f", "/dev/ram0")
        run("mount", "/dev/ram0", self.folder)

    def facts(self):
        first = lambda text: text.strip().splitlines()[0]
        say("facts", {"kernel": os.uname().release, "fio": first(run("fio", "--version")), "qemu": first(run("qemu-nbd", "--version")),
                      "ours": first(run("qcow2blk", "--version")), "processors": os.cpu_count(),
                      "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
                      "command_line": Path("/proc/cmdline").read_text().strip()})

    def image(self, subject, kind):
        """A qcow2 for a server: "full" has every cluster allocated and written, "empty" none."""
        path = os.path.join(self.folder, re.sub(r"\W+", "-", subject["name"]) + f"-{kind}.qcow2")
        full = kind == "full" and subject["kind"] in ("ours", "qemu")
        run("qemu-img", "create", "-q", "-f", "qcow2", *(["-o", "preallocation=full"] if full else []), path,
            f"{self.plan['image_mib' if kind == 'full' else 'empty_mib']}M")
        return path

    def attach(self, subject, kind):
        """The server on a new image; None if this machine cannot have it, which is said."""
        image = self.image(subject, kind)
        try:
            server = Server(subject, image)
        except RuntimeError as error:
            os.unlink(image)
            say("absent", {"subject": subject["name"], "why": str(error)})
            return None
        server.image = image
        return server

    def all_rounds(self):
        cells = self.plan["cells"]
        full = [cell for cell in cells if cell["image"] == "full"]
        empty = [cell for cell in cells if cell["image"] == "empty"]
        subjects = self.plan["subjects"]
        servers = {}
        if full:
            servers = {subject["name"]: server for subject in subjects if (server := self.attach(subject, "full"))}
            subjects = [subject for subject in subjects if subject["name"] in servers]
        for number in range(self.plan["rounds"]):
            for cell in full:
                for subject in self.order(subjects, number):
                    self.sample(cell, servers[subject["name"]], number)
        # Before the others begin: null_blk has one device, and goes with whoever lets go of it first.
        for server in servers.values():
            server.detach()
        for number in range(self.plan["rounds"]):
            for cell in empty:
                for subject in self.order(subjects, number):
                    self.sample_fresh(cell, subject, number)

    @staticmethod
    def order(subjects, number):
        """Every second round backwards: what drifts hits nobody more than others."""
        return subjects if number % 2 == 0 else subjects[::-1]

    def sample_fresh(self, cell, subject, number):
        server = self.attach(subject, "empty")
        if server:
            self.sample(cell, server, number)
            server.detach()
            os.unlink(server.image)

    def sample(self, cell, server, number):
        command = ["fio", "--name=test", "--ioengine=libaio", "--direct=1", f"--bs={cell['block_size']}", f"--filename={server.device}",
                   f"--readwrite={cell['rw']}", "--numjobs=2", "--iodepth=8", "--output-format=json", "--group_reporting"]
        runtime = self.plan["runtime"]
        command += [f"--io_size={cell['io_bytes'] // 2}"] if cell["io_bytes"] else ["--time_based", f"--runtime={round(runtime) + 30}"]
        start = server.sectors()
        with open("/tmp/fio.json", "w+", encoding="utf-8") as output, \
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT) as fio:
            try:
                window = self.window(cell, server, fio, start)
            finally:
                if fio.poll() is None:
                    fio.send_signal(signal.SIGINT)
                fio.wait(FIO_LIMIT)
            output.seek(0)
            text = output.read()
        job = json.loads(text[text.index("{"):text.rindex("}") + 1])["jobs"][0] if "{" in text else {"error": text.strip()}
        if job["error"] != 0 or not window:
            raise RuntimeError(f"{cell['name']} on {server.name}: fio reports error {job['error']}; server: {server.last_words()}")
        say("sample", {"cell": cell["name"], "subject": server.name, "round": number, **window})

    def window(self, cell, server, fio, start):
        """Waits until fio is under way (its start and its end are not measured), then measures: for the run time, or for the
        middle of a run that is bounded by work."""
        begin, end = (cell["io_bytes"] // 512 // 16, cell["io_bytes"] // 512 * 15 // 16) if cell["io_bytes"] else (1, None)
        if not self.wait(fio, lambda: server.sectors() - start >= begin):
            return None
        if not end:
            time.sleep(self.plan["warm_up"])
        say("begin")
        before = self.reading(server, fio)
        if end:
            self.wait(fio, lambda: server.sectors() - start >= end)
        elif self.plan["profile"]:
            self.profile(cell, server)
        else:
            time.sleep(self.plan["runtime"])
        after = self.reading(server, fio)
        say("end")
        difference = {key: after[key] - before[key] for key in after}
        difference["ios"] = difference.pop("sectors") * 512 / cell["block_size"]
        return difference if difference["ios"] else None

    def profile(self, cell, server):
        """Says where the machine's time goes meanwhile, symbol by symbol."""
        data = "/tmp/perf.data"
        run("perf", "record", "-q", "-a", "-e", "cpu-clock", "-F", "5000", "-o", data, "--", "sleep", str(self.plan["runtime"]))
        table = run("perf", "report", "-i", data, "--stdio", "--sort", "comm,dso,symbol", "--percent-limit", "0.4", "-q")
        lines = [line.rstrip() for line in table.splitlines() if line.strip()]
        say("profile", {"cell": cell["name"], "subject": server.name, "lines": lines[:self.plan["profile"]]})

    @staticmethod
    def wait(fio, test):
        """Whether the test came true before fio ended."""
        limit = time.monotonic() + FIO_LIMIT
        while not test():
            if fio.poll() is not None or time.monotonic() > limit:
                return False
            time.sleep(0.01)
        return True

    @staticmethod
    def reading(server, fio):
        ours = server.processes()
        return {"sectors": server.sectors(), "seconds": time.monotonic(), "busy": busy_seconds(), "server": seconds_of(ours),
                "client": seconds_of(tree(fio.pid)), "switches": switches_of(ours)}


def main():
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    bench = Bench(plan)
    # Where qemu-nbd has the socket between itself and the kernel.
    os.makedirs("/var/lock", exist_ok=True)
    for module in ("ublk_drv", "nbd"):
        subprocess.run(["modprobe", module], check=False)
    bench.place()
    bench.facts()
    bench.all_rounds()


if __name__ == "__main__":
    main()
