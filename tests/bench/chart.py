"""Draws ratios as a bar chart for the manual: two bars a cell, the rival as the line at 1.

chart.py NBD-RESULTS.json|BENCHMARKS.md OUTPUT.svg   from the results of bench.py, or from a page of docs/benchmarks
"""
import json
import re
import sys
from html import escape

LABEL, PLOT, ROW, BAR, TOP = 190, 560, 34, 12, 74
COLOURS = ("#2f6fb0", "#8fb8de")


def _bar(y, ratio, colour, scale):
    width = ratio * scale
    return [f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{LABEL + width + 6:.1f}" y="{y + BAR - 2}" class="value">{ratio:.1f}</text>']


def _axis(highest, scale, bottom):
    step = 1 if highest <= 12 else 2
    for value in range(0, int(highest) + 1, step):
        x = LABEL + value * scale
        yield f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{value}</text>'
    yield f'<line x1="{LABEL + scale:.1f}" y1="{TOP - 8}" x2="{LABEL + scale:.1f}" y2="{bottom}" stroke="#333"/>'


def _legend(labels):
    for index, (colour, label) in enumerate(zip(COLOURS, labels)):
        x = LABEL + index * 220
        yield f'<rect x="{x}" y="38" width="14" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 20}" y="49">{escape(label)}</text>'


def draw(title, labels, rows):
    """The chart as an SVG document.

    labels: what the two bars are; rows: (cell, first ratio, second ratio), a ratio may be None.
    """
    highest = max([1.0, *(value for row in rows for value in row[1:] if value is not None)])
    scale = PLOT / highest
    bottom = TOP + ROW * len(rows)
    # White below everything: a page in a dark theme has no background of its own for it.
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + PLOT + 60}" height="{bottom + 34}" '
             'font-family="sans-serif" font-size="12">',
             '<style>.value{font-size:10px;fill:#333;paint-order:stroke;stroke:#fff;stroke-width:3px}</style>',
             '<rect width="100%" height="100%" fill="#fff"/>', f'<text x="{LABEL}" y="22" font-size="15">{escape(title)}</text>',
             *_legend(labels), *_axis(highest, scale, bottom)]
    for index, (name, *ratios) in enumerate(rows):
        y = TOP + index * ROW
        parts.append(f'<text x="{LABEL - 8}" y="{y + 17}" text-anchor="end">{escape(name)}</text>')
        for place, ratio in enumerate(ratios):
            if ratio is not None:
                parts += _bar(y + place * (BAR + 2), ratio, COLOURS[place], scale)
    return "\n".join([*parts, "</svg>", ""])


NBD = ("NBD: qcow2blk to the fastest qemu-nbd setting (1 = equal)", ("requests a second", "requests per second of server CPU"))
KERNEL = ("block devices: requests a second, qcow2blk to qemu-nbd -c (1 = equal)", ("/dev/ublkbN", "/dev/nbdN"))


def of_results(results):
    """The chart of a run of bench.py."""
    return draw(*NBD, [(cell["cell"]["name"], cell["ratios"]["iops"], cell["ratios"]["per_cpu_second"]) for cell in results["cells"]])


def of_kernel_page(page):
    """The chart of the first table of docs/benchmarks/kernel.md: the one with the real clock."""
    table = re.search(r"^### .*?\n\n.*?\n\n(\|.*?)\n\n", page, re.MULTILINE | re.DOTALL)[1].splitlines()[2:]
    ratios = {}
    for line in table:
        cell, ours, _, _, _, ratio = [value.strip() for value in line.strip("|").split("|")][:6]
        ratios.setdefault(cell, {})[ours] = float(ratio)
    return draw(*KERNEL, [(cell, found.get("ublk"), found.get("nbd")) for cell, found in ratios.items()])


def main(arguments):
    source, output = arguments
    with open(source, encoding="utf-8") as file:
        content = file.read()
    chart = of_kernel_page(content) if source.endswith(".md") else of_results(json.loads(content))
    with open(output, "w", encoding="utf-8") as file:
        file.write(chart)


if __name__ == "__main__":
    main(sys.argv[1:])
