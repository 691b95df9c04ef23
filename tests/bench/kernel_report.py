#!/usr/bin/python3
"""Turns the results of kernel.py into tables: plain text for the terminal, markdown for docs/benchmarks/kernel.md.

kernel_report.py RESULTS.json...   prints the tables again; with --markdown PAGE they go into the page instead
"""
import json
import statistics
import sys
from pathlib import Path

import kernel_cells

BEGIN, END = "<!-- bench-kernel:begin -->", "<!-- bench-kernel:end -->"
RATIOS = ["cell", "ours", "IOPS", "rival", "its IOPS", "ratio", "target", "CPU µs per I/O", "its", "I/O per CPU s, ratio", "target",
          "instructions per I/O", "its", "instructions, ratio", "without the client", "of the ceiling", "spread"]


def figures(results):
    """What the rounds say together: (cell, subject) -> medians by name."""
    groups = {}
    for sample in results["samples"]:
        groups.setdefault((sample["cell"], sample["subject"]), []).append(sample)
    return {key: _medians(samples) for key, samples in groups.items()}


def _medians(samples):
    timed = [sample for sample in samples if sample["timed"]]
    counted = [sample for sample in samples if sample["counted"]]
    rates = [sample["ios"] / sample["seconds"] for sample in timed]

    def per_io(name, of):
        return statistics.median(sample[name] / sample["ios"] for sample in of) if of else None
    rate = statistics.median(rates)
    return {"iops": rate, "spread": f"{(max(rates) - min(rates)) / rate * 100:.0f} %" if len(rates) > 1 else "-",
            "cpu": per_io("cpu", timed), "server": per_io("server", timed),
            "client": per_io("client", timed), "switches": per_io("switches", timed),
            "busy": statistics.median(sample["busy"] / sample["seconds"] for sample in timed),
            "user": per_io("user_instructions", counted), "kernel": per_io("kernel_instructions", counted),
            "instructions": per_io("user_instructions", counted) + per_io("kernel_instructions", counted) if counted else None}


def _rival(found, cell):
    rivals = [rival["name"] for rival in kernel_cells.RIVALS if (cell["name"], rival["name"]) in found]
    return max(rivals, key=lambda name: found[cell["name"], name]["iops"]) if rivals else None


def _judge(ratio, target):
    return "-" if target is None else f"{target:.1f} {'reached' if ratio >= target else 'missed'}"


def _without_client(client, mine, its):
    """The ratio of what the servers and their part of the kernel do: fio and the block layer cost both the same."""
    if not client or None in (client["instructions"], mine["instructions"], its["instructions"]):
        return "-"
    return f"{(its['instructions'] - client['instructions']) / (mine['instructions'] - client['instructions']):.2f}"


def _count(value):
    return "-" if value is None else f"{value:.0f}"


def ratio_rows(results):
    """A row for each cell and each of ours, against the faster of the two rivals."""
    found = figures(results)
    for cell in results["cells"]:
        rival = _rival(found, cell)
        for name in results["commands"]:
            if rival is None or name.startswith(("qemu-nbd", "null", "no server")) or (cell["name"], name) not in found:
                continue
            mine, its, ceiling = found[cell["name"], name], found[cell["name"], rival], found.get((cell["name"], "null"))
            on_nbd = name == "nbd"
            rate, per_cpu = mine["iops"] / its["iops"], its["cpu"] / mine["cpu"]
            counts = f"{its['instructions'] / mine['instructions']:.2f}" if mine["instructions"] and its["instructions"] else "-"
            yield [cell["name"], name, f"{mine['iops']:.0f}", rival.replace("qemu-nbd ", ""), f"{its['iops']:.0f}", f"{rate:.2f}",
                   _judge(rate, kernel_cells.NBD_TARGET if on_nbd else cell["target"]), f"{mine['cpu'] * 1e6:.0f}",
                   f"{its['cpu'] * 1e6:.0f}", f"{per_cpu:.2f}", _judge(per_cpu, None if on_nbd else kernel_cells.PER_CPU_TARGET),
                   _count(mine["instructions"]), _count(its["instructions"]), counts,
                   _without_client(found.get((cell["name"], "no server")), mine, its),
                   f"{mine['iops'] / ceiling['iops'] * 100:.0f} %" if ceiling and not on_nbd else "-",
                   f"{mine['spread']} / {its['spread']}"]


def each_rows(results):
    """A row for each cell and each server: all that was measured."""
    found = figures(results)
    for cell in results["cells"]:
        for name in results["commands"]:
            if (cell["name"], name) in found:
                one = found[cell["name"], name]
                yield [cell["name"], name, f"{one['iops']:.0f}", f"{one['iops'] * cell['block_size'] / kernel_cells.MIB:.0f}",
                       f"{one['cpu'] * 1e6:.1f}", f"{one['server'] * 1e6:.1f}", f"{one['client'] * 1e6:.1f}", f"{one['busy']:.2f}",
                       f"{one['switches']:.2f}", _count(one["instructions"]), _count(one["user"]), _count(one["kernel"]), one["spread"]]


EACH = ["cell", "server", "IOPS", "MiB/s", "CPU µs per I/O", "of the server", "of fio", "processors busy",
        "switches of the server per I/O", "instructions per I/O", "in programs", "in the kernel", "spread"]


def verdict(results):
    judged = [text for row in ratio_rows(results) for text in (row[6], row[10]) if text != "-"]
    return f"targets reached: {sum(text.endswith('reached') for text in judged)} of {len(judged)}"


def _plain(headings, rows):
    rows = [headings, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    return ["  ".join(value.ljust(width) if column < 2 else value.rjust(width)
                      for column, (value, width) in enumerate(zip(row, widths))).rstrip() for row in rows]


def text(results):
    """The tables for a terminal."""
    lines = [f"images on {results['placement']}, Linux {results['guest']['kernel']}", *_plain(RATIOS, list(ratio_rows(results))), "",
             *_plain(EACH, list(each_rows(results))), ""]
    lines += [f"{name} was not measured: {why}" for name, why in results["absent"].items()]
    return "\n".join([*lines, verdict(results)])


def _grid(headings, rows):
    return ["| " + " | ".join(headings) + " |", "|---|---" + "|---:" * (len(headings) - 2) + "|",
            *("| " + " | ".join(row) + " |" for row in rows)]


def _place(results):
    return {"disk": "Images on a RAM disk (brd) with xfs", "tmpfs": "Images on tmpfs"}[results["placement"]]


def _clock(results):
    return "clock by instructions (--steady)" if results["settings"]["steady"] else "real clock"


def _windows(results):
    settings = results["settings"]
    return (f"{results['date']}: {settings['rounds']} window{'s (medians)' if settings['rounds'] > 1 else ''} of "
            f"{settings['runtime_seconds']} s, load before the run {results['host']['load_before']:.2f}.")


def markdown(everything):
    """The section of docs/benchmarks/kernel.md: the machine once, then a table for each run."""
    first = everything[0]
    host, machine = first["host"], first["guest"]
    lines = [f"Measured with {first['guest']['ours']} in a virtual machine: {host['emulator']}, software emulation (no KVM), "
             f"{machine['processors']} processors, {machine['memory_bytes'] / 2 ** 30:.1f} GiB, Linux {machine['kernel']}, "
             f"{machine['qemu']}, {machine['fio']}; on {host['processor']}, {host['cores']} cores, Linux {host['kernel']}.", ""]
    lines += [f"- {name}: `{command}`" for name, command in first["commands"].items()]
    for results in everything:
        lines += ["", f"### {_place(results)}, {_clock(results)}: against the faster qemu-nbd", "", _windows(results), "",
                  *_grid(RATIOS, ratio_rows(results)), "",
                  f"{verdict(results)[0].upper()}{verdict(results)[1:]}.", ""]
        lines += [f"- {name} was not measured: {why}" for name, why in results["absent"].items()]
        lines += ["<details><summary>every server</summary>", "", *_grid(EACH, each_rows(results)), "", "</details>"]
    return "\n".join(lines)


def fill(page, everything):
    """Replaces what stands between the kernel markers of the page."""
    content = Path(page).read_text(encoding="utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"bench: {page} has no {BEGIN} ... {END}")
    Path(page).write_text(f"{before}{BEGIN}\n{markdown(everything)}\n{END}{after}", encoding="utf-8")


def main(arguments):
    page = None
    if arguments[:1] == ["--markdown"]:
        page, arguments = arguments[1], arguments[2:]
    everything = [json.loads(Path(path).read_text(encoding="utf-8")) for path in arguments]
    if page:
        fill(page, everything)
    else:
        print("\n\n".join(map(text, everything)))


if __name__ == "__main__":
    main(sys.argv[1:])
