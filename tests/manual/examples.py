#!/usr/bin/python3
"""Finds the examples in the manual, README.md and docs/*.md.

Usage: tests/manual/examples.py write FILE    writes the sessions that need root, for tests/kernel
       tests/manual/examples.py user [PAGE...]  runs those of ordinary users here
       tests/manual/examples.py blocks        shows every block, and what is done with it

A literal block whose lines begin with "$ " or "# " is an example: commands of a user or of root, and what they print. The blocks of a
page are one session: the user's runs on this machine, root's in a virtual machine (tests/kernel/cases/98-manual.sh), as it needs block
devices. examples.toml says what is there beforehand, what may differ, and why a block cannot be run.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import session

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests/manual/examples.toml"

# What a fence may say of a block of commands; other languages are no commands.
SHELL_WORDS = ("", "console")


@dataclass
class Block:
    """A literal block of a page."""

    page: str
    line: int
    language: str
    lines: list

    @property
    def kind(self):
        """root or user, or None if these are no commands."""
        if self.language not in SHELL_WORDS:
            return "code"
        prompts = {line[:2] for line in self.lines if line[:2] in ("$ ", "# ")}
        if not prompts or self.lines[0][:2] not in prompts:
            return None
        return "root" if "# " in prompts else "user"

    def steps(self):
        """Commands with the lines that they print."""
        steps = []
        for line in self.lines:
            if line[:2] in ("$ ", "# "):
                steps.append((line[2:], []))
            elif _is_unfinished(steps[-1][0]) and not steps[-1][1]:
                steps[-1] = (steps[-1][0] + "\n" + line, [])
            else:
                steps[-1][1].append(line)
        return [(command, _without_blank_end(shown)) for command, shown in steps]


class Table:
    """examples.toml."""

    def __init__(self):
        content = tomllib.loads(TABLE.read_text())
        self.sessions, self.pages, self.skipped = content["sessions"], content.get("pages", {}), content["skip"]
        self.patterns = content["patterns"]

    def reason(self, block):
        """Why a block cannot be run; None if it can."""
        for entry in self.skipped:
            if entry["page"] == block.page and block.lines[0].startswith(entry["block"]):
                return entry["why"]
        return None

    def sessions_of(self, kind):
        """What session.py runs."""
        found = {}
        for block in blocks():
            if block.kind == kind and not self.reason(block):
                found.setdefault(block.page, []).extend(block.steps())
        return [self._session(page, kind, steps) for page, steps in found.items()]

    def _session(self, page, kind, steps):
        own = self.pages.get(page, {})
        return {"page": page, "steps": steps, "fails": own.get("fails", {}), "unshown": own.get("unshown", []),
                "setup": self.sessions[kind]["setup"] + own.get(kind, []),
                "patterns": self.patterns + own.get("patterns", []),
                "prefixes": self.sessions[kind]["prefixes"] + own.get("prefixes", [])}


def pages():
    """The files that have examples, relative to the checkout."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/man").glob("*.[1-8]"))]
    return [str(path.relative_to(ROOT)) for path in found]


def blocks():
    return [block for page in pages() for block in _blocks_of(page, (ROOT / page).read_text().split("\n"))]


def _blocks_of(page, lines):
    begin = r"```(\w*)" if page.endswith(".md") else r"\.Bd -literal.*()"
    end = "```" if page.endswith(".md") else ".Ed"
    block = None
    for number, line in enumerate(lines, 1):
        if block is None:
            if match := re.fullmatch(begin, line):
                block = Block(page, number, match[1], [])
        elif line == end:
            yield block
            block = None
        else:
            block.lines.append(line if page.endswith(".md") else _typed(line))


def _typed(line):
    """A line of mdoc as it is shown."""
    return line.removeprefix("\\&").replace("\\-", "-").replace("\\e", "\\")


def _is_unfinished(command):
    if command.endswith("\\"):
        return True
    said = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False).stderr
    return "unexpected end of file" in said or "here-document" in said or "unexpected EOF" in said


def _without_blank_end(lines):
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def main():
    os.environ.setdefault("QCOW2BLK_BINARY", str(ROOT / "artifacts/qcow2blk"))
    table = Table()
    command, words = sys.argv[1] if len(sys.argv) > 1 else "blocks", sys.argv[2:]
    if command == "write":
        Path(words[0]).parent.mkdir(parents=True, exist_ok=True)
        Path(words[0]).write_text(json.dumps(table.sessions_of("root"), indent=1))
    elif command == "user":
        for description in table.sessions_of("user"):
            if not words or description["page"] in words:
                session.Session(description).run()
                print(f"{description['page']}: {len(description['steps'])} commands")
    else:
        for block in blocks():
            what = f"not run: {table.reason(block)}" if table.reason(block) else block.kind or "NOT DECLARED"
            print(f"{block.page}:{block.line}: {what}: {block.lines[0]}")


if __name__ == "__main__":
    main()
