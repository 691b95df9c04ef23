"""Draws the ratios of results.json as a bar chart: two bars a cell, targets as marks, qemu-nbd as the line at 1."""
from html import escape

LABEL, PLOT, ROW, BAR, TOP = 210, 560, 34, 12, 74
IOPS_COLOUR, CPU_COLOUR, TARGET_COLOUR = "#2f6fb0", "#8fb8de", "#c0392b"


def _bar(y, ratio, target, colour, scale):
    width = ratio * scale
    parts = [f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>',
             f'<text x="{LABEL + width + 5:.1f}" y="{y + BAR - 2}" class="value">{ratio:.2f}</text>']
    if target is not None:
        x = LABEL + target * scale
        parts.append(f'<line x1="{x:.1f}" y1="{y - 2}" x2="{x:.1f}" y2="{y + BAR + 2}" stroke="{TARGET_COLOUR}" '
                     'stroke-width="2.5"/>')
    return parts


def _axis(highest, scale, bottom):
    for value in range(int(highest) + 1):
        x = LABEL + value * scale
        colour = "#333" if value == 1 else "#ddd"
        yield f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{value}</text>'


def _legend():
    entries = ((IOPS_COLOUR, "I/O per second"), (CPU_COLOUR, "I/O per server CPU second"), (TARGET_COLOUR, "to reach"))
    for index, (colour, label) in enumerate(entries):
        x = LABEL + index * 190
        yield f'<rect x="{x}" y="38" width="{3 if colour == TARGET_COLOUR else 14}" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 20}" y="49">{label}</text>'


def draw(results):
    """The chart as an SVG document."""
    rows = results["cells"]
    ratios = [value for row in rows for value in (row["ratios"]["iops"], row["ratios"]["per_cpu_second"],
                                                  row["cell"]["iops_target"], row["cell"]["per_cpu_target"]) if value]
    highest = max([1.0, *ratios])
    scale = PLOT / highest
    bottom = TOP + ROW * len(rows)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + PLOT + 60}" height="{bottom + 34}" '
             'font-family="sans-serif" font-size="12">', "<style>.value{font-size:10px;fill:#333}</style>",
             '<rect width="100%" height="100%" fill="#fff"/>',
             f'<text x="{LABEL}" y="22" font-size="15">{escape(results["ours"])}: ratio to the best qemu-nbd (1 = equal)</text>',
             *_legend(), *_axis(highest, scale, bottom)]
    for index, row in enumerate(rows):
        y = TOP + index * ROW
        parts.append(f'<text x="{LABEL - 8}" y="{y + 17}" text-anchor="end">{escape(row["cell"]["name"])}</text>')
        parts += _bar(y, row["ratios"]["iops"], row["cell"]["iops_target"], IOPS_COLOUR, scale)
        parts += _bar(y + BAR + 2, row["ratios"]["per_cpu_second"], row["cell"]["per_cpu_target"], CPU_COLOUR, scale)
    return "\n".join([*parts, "</svg>", ""])
