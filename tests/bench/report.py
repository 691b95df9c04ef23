#!/usr/bin/python3
"""Turns results.json into tables: plain text for the terminal, markdown for docs/benchmarks/nbd.md.

report.py [RESULTS.json [PERFORMANCE.md]]   replaces what stands between the bench markers of the page
"""
import json
import os
import statistics
import sys

MIB = 1024 * 1024
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
HEADINGS = ["cell", "IOPS", "MiB/s", "I/O per CPU s", "p99 µs", "RSS MiB", "rival", "its IOPS", "its I/O per CPU s",
            "its p99 µs", "its RSS MiB", "IOPS ratio", "target", "CPU ratio", "target"]
# Columns of the short table on the terminal.
SHORT = [0, 1, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14]


def _target(ratio, target):
    if target is None:
        return "-"
    return f"{target:.1f} {'yes' if ratio >= target else 'NO'}"


def _row(result):
    mine, rival, cell, ratios = result["ours"], result["rivals"][result["rival"]], result["cell"], result["ratios"]
    return [cell["name"], f"{mine['iops']:.0f}", f"{mine['bandwidth'] / MIB:.0f}", f"{mine['per_cpu_second']:.0f}",
            f"{mine['p99_seconds'] * 1e6:.0f}", f"{mine['resident_bytes'] / MIB:.1f}",
            result["rival"].replace("qemu-nbd ", ""), f"{rival['iops']:.0f}", f"{rival['per_cpu_second']:.0f}",
            f"{rival['p99_seconds'] * 1e6:.0f}", f"{rival['resident_bytes'] / MIB:.1f}",
            f"{ratios['iops']:.2f}", _target(ratios["iops"], cell["iops_target"]),
            f"{ratios['per_cpu_second']:.2f}", _target(ratios["per_cpu_second"], cell["per_cpu_target"])]


def _facts(results):
    """The figures that belong to no cell, each with its limit."""
    limits = results["limits"]
    names = list(results["first_byte_seconds"])
    own = results["first_byte_seconds"][names[0]]
    yield (f"start to first byte: {own * 1000:.1f} ms (limit {limits['first_byte_seconds'] * 1000:.0f} ms: "
           f"{'yes' if own < limits['first_byte_seconds'] else 'NO'}); "
           + ", ".join(f"{name}: {results['first_byte_seconds'][name] * 1000:.1f} ms" for name in names[1:]))
    if results["binary_bytes"] is not None:
        yield (f"binary: {results['binary_bytes'] / MIB:.2f} MiB (limit {limits['binary_bytes'] // MIB} MiB: "
               f"{'yes' if results['binary_bytes'] < limits['binary_bytes'] else 'NO'})")
    if results["cells"]:
        worst = max(results["cells"], key=lambda result: result["resident_over_rival_bytes"])
        over = worst["resident_over_rival_bytes"]
        yield (f"resident memory after the run, at most {over / MIB:+.1f} MiB against the rival, in "
               f"{worst['cell']['name']} (limit +{limits['resident_over_rival_bytes'] // MIB} MiB: "
               f"{'yes' if over <= limits['resident_over_rival_bytes'] else 'NO'})")
    if results.get("limited_to_unlimited"):
        pairs = results["limited_to_unlimited"]
        yield (f"4k-randread-qd16 with limits that are set and not reached, to none: {statistics.median(pairs):.2f} "
               f"(round by round {' '.join(f'{pair:.2f}' for pair in pairs)})")
    reached, wanted = count_targets(results)
    yield f"targets reached: {reached} of {wanted}"


def before_table(results):
    """How each cell compares with the build before, in markdown; nothing where none was measured."""
    rows = [(result["cell"]["name"], result["before"]) for result in results["cells"] if result.get("before")]
    if not rows:
        return []
    return ["| cell | IOPS to the build before | round by round | I/O per CPU second |", "|---|---:|---|---:|",
            *(f"| {name} | {before['iops']:.2f} | {' '.join(f'{pair:.2f}' for pair in before['pairs'])} "
              f"| {before['per_cpu_second']:.2f} |" for name, before in rows)]


def count_targets(results):
    """How many of the targets of the measured cells were reached, and how many there are."""
    pairs = [(result["ratios"][key], result["cell"][target]) for result in results["cells"]
             for key, target in (("iops", "iops_target"), ("per_cpu_second", "per_cpu_target"))
             if result["cell"][target] is not None]
    return sum(ratio >= target for ratio, target in pairs), len(pairs)


def text(results):
    """The table for a terminal, with the facts below."""
    rows = [[row[column] for column in SHORT] for row in [HEADINGS, *map(_row, results["cells"])]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(SHORT))]
    lines = ["  ".join(value.ljust(width) if column in (0, 5) else value.rjust(width)
                       for column, (value, width) in enumerate(zip(row, widths))).rstrip() for row in rows]
    return "\n".join([*lines, "", *_facts(results), *([""] + table if (table := before_table(results)) else [])])


def markdown(results):
    """The same for docs/benchmarks/nbd.md, with the machine and the commands."""
    machine, settings = results["machine"], results["settings"]
    lines = [f"Measured {results['date']} with {results['ours']} on {machine['processor']}, {machine['cores']} cores, "
             f"{machine['memory_bytes'] / MIB / 1024:.0f} GiB, Linux {machine['kernel']}, {machine['qemu']}, "
             f"{machine['fio']}; load before the run {machine['load_before']:.2f}; medians of {settings['rounds']} "
             f"rounds of {settings['runtime_seconds']} s.", ""]
    lines += [f"- `{command}`" for command in results["commands"].values()]
    lines += ["", "| " + " | ".join(HEADINGS) + " |", "|---" + "|---:" * (len(HEADINGS) - 1) + "|"]
    lines += ["| " + " | ".join(_row(result)) + " |" for result in results["cells"]]
    return "\n".join([*lines, "", *(f"- {fact}" for fact in _facts(results))])


def fill(page, results):
    """The page with the part between the markers replaced."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"report: the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}"


def main(arguments):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    results_path = arguments[0] if arguments else os.path.join(root, "artifacts/bench/results.json")
    page_path = arguments[1] if len(arguments) > 1 else os.path.join(root, "docs/benchmarks/nbd.md")
    with open(results_path, encoding="utf-8") as file:
        results = json.load(file)
    with open(page_path, encoding="utf-8") as file:
        page = fill(file.read(), results)
    with open(page_path, "w", encoding="utf-8") as file:
        file.write(page)


if __name__ == "__main__":
    main(sys.argv[1:])
