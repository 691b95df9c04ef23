#!/usr/bin/python3
"""Makes docs/images/top.svg: `qcow2blk top` over three devices with real load, as an emulator of a terminal shows it.

Usage: tests/terminal/picture.py [OUTPUT]      ($QCOW2BLK_BINARY, or artifacts/qcow2blk)
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

from terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QCOW2BLK_BINARY") or str(ROOT / "artifacts/qcow2blk")
COLUMNS, ROWS, WIDTH, HEIGHT = 118, 11, 8.4, 18
COLOURS = {"default": "#d0d0d0", "green": "#5fbf5f", "red": "#e06c6c", "brown": "#d0b050"}
PAPER = "#1c1c1c"


def cells(line):
    """Runs of characters that look the same: where they begin, their text, and how they look."""
    column = 0
    while column < COLUMNS:
        first, look = column, line[column]._replace(data="")
        text = ""
        while column < COLUMNS and line[column]._replace(data="") == look:
            text += line[column].data
            column += 1
        if text.strip() or look.reverse:
            yield first, column - first, text, look


def svg(screen):
    width, height = COLUMNS * WIDTH + 24, ROWS * HEIGHT + 24
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}" '
             f'role="img" aria-label="qcow2blk top in a terminal">',
             f'<rect width="100%" height="100%" rx="6" fill="{PAPER}"/>',
             '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">']
    for row in range(ROWS):
        for first, count, text, look in cells(screen.buffer[row]):
            x, y = 12 + first * WIDTH, 12 + row * HEIGHT
            ink = COLOURS.get(look.fg, COLOURS["default"])
            if look.reverse:
                parts.append(f'<rect x="{x:.1f}" y="{y}" width="{count * WIDTH:.1f}" height="{HEIGHT}" fill="{ink}"/>')
                ink = PAPER
            style = (' font-weight="bold"' if look.bold else "") + (' text-decoration="underline"' if look.underscore else "")
            length = len(text.rstrip()) * WIDTH
            if text.strip():
                parts.append(f'<text x="{x:.1f}" y="{y + 14}" fill="{ink}" textLength="{length:.1f}"{style}>{escape(text.rstrip())}</text>')
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


def load(folder, name, *options):
    return subprocess.Popen(["qemu-img", "bench", "-q", "-f", "raw", "-c", "100000000", *options,
                             f"nbd+unix:///?socket={folder}/{name}.nbd"], stdout=subprocess.DEVNULL)


def main():
    output = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs/images/top.svg")
    with tempfile.TemporaryDirectory(prefix="vm") as folder:
        environment = {**os.environ, "QCOW2BLK_RUNTIME_DIR": f"{folder}/run", "QCOW2BLK_CACHE_DIR": f"{folder}/cache"}
        names = ("database", "web", "backup")
        for name in names:
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", f"{folder}/{name}.qcow2", "4G"], check=True)
            subprocess.run([BINARY, "attach", f"{folder}/{name}.qcow2", "--socket", f"{folder}/{name}.nbd", "--name", name], check=True,
                           env=environment, stdout=subprocess.DEVNULL)
        subprocess.run([BINARY, "suspend", "backup"], check=True, env=environment)
        loads = [load(folder, "database", "-w", "-d", "4", "-s", "8192", "-S", "73728"), load(folder, "web", "-d", "1", "-s", "65536")]
        terminal = Terminal(BINARY, "top", "--sort", "writes", columns=COLUMNS, rows=ROWS, environment=environment)
        try:
            terminal.read(6)
            terminal.wait_for(lambda seen: seen.screen.buffer[3][0].data.strip(), "the devices")
            output.parent.mkdir(exist_ok=True)
            output.write_text(svg(terminal.screen))
        finally:
            terminal.close()
            for process in loads:
                process.kill()
                process.wait()
            for name in names:
                subprocess.run([BINARY, "detach", "--force", name], env=environment, check=False)


if __name__ == "__main__":
    main()
