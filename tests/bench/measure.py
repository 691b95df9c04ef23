"""One measurement: a server started on an image, one fio run against it, and what the two of them tell."""
import json
import statistics
import subprocess
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Sample:
    """What one run gave: rates in I/O and bytes per second, times in seconds, memory in bytes."""
    iops: float
    bandwidth: float
    per_cpu_second: float
    p99_seconds: float
    resident_bytes: int


def fio_command(cell, uri, size, runtime):
    command = ["fio", "--name=" + cell.name, "--ioengine=nbd", "--uri=" + uri, "--rw=" + cell.rw,
               f"--bs={cell.block_size}", f"--iodepth={cell.depth}", f"--size={size}", f"--numjobs={cell.jobs}",
               "--group_reporting", "--randrepeat=1", "--refill_buffers=0", "--output-format=json"]
    return command + ([f"--io_size={cell.io_bytes}"] if cell.io_bytes else ["--time_based", f"--runtime={runtime}"])


def run(cell, kind, images, folder, runtime):
    """Runs a cell once against a server of a kind."""
    image = images.path(cell.image)
    server = kind.start(image, folder, images.key_file(cell.image))
    try:
        before = server.cpu_seconds()
        done = subprocess.run(fio_command(cell, server.uri, images.size(cell.image), runtime),
                              capture_output=True, text=True, check=False)
        cpu = server.cpu_seconds() - before
        if done.returncode != 0:
            raise SystemExit(f"bench: fio failed in {cell.name} against {kind.name}: {done.stderr.strip()[-500:]}"
                             f"\nserver: {server.last_words()}")
        resident = server.resident_bytes()
    finally:
        server.stop()
    return _sample(cell, done.stdout, cpu, resident)


def _sample(cell, output, cpu, resident):
    # fio prints notes before the JSON on some machines.
    job = json.loads(output[output.index("{"):])["jobs"][0]
    if job["error"] != 0:
        raise SystemExit(f"bench: fio reports error {job['error']} in {cell.name}")
    side = job["read" if cell.is_read else "write"]
    return Sample(iops=side["iops"], bandwidth=side["bw_bytes"],
                  per_cpu_second=side["total_ios"] / max(cpu, 0.01),
                  p99_seconds=side["clat_ns"]["percentile"]["99.000000"] / 1e9, resident_bytes=resident)


def median(samples):
    """The median of each figure by itself."""
    columns = zip(*(asdict(sample).values() for sample in samples))
    return Sample(*(statistics.median(column) for column in columns))


def first_byte(kind, image, folder, rounds):
    """Median seconds from starting a server to the first byte read from it."""
    times = []
    for _ in range(rounds):
        server = kind.start(image, folder)
        times.append(server.first_byte_seconds)
        server.stop()
    return statistics.median(times)
