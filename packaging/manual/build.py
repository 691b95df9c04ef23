#!/usr/bin/python3
"""Builds the manual: pages in mdoc in OUTPUT/man3 to man8 and, where mandoc is installed, HTML in OUTPUT/html.

Usage: packaging/manual/build.py [OUTPUT]        (default: artifacts/man)

There are three kinds of sources:
  docs/man/NAME.SECTION   mdoc; "@version@" becomes the version
  docs/*.md               those that say "<!-- manual: NAME(SECTION), DATE: DESCRIPTION -->" (markdown.py)
  include/qcow2blk.h      a page for each function (header.py)
Needs nothing but Python. The result depends on the sources alone: no clock, no git.
"""

import re
import shutil

import sys
from pathlib import Path

import header
import html_pages
import markdown

ROOT = Path(__file__).resolve().parents[2]

def version():
    return re.search(r"<VersionPrefix>(.*)</VersionPrefix>", (ROOT / "Directory.Build.props").read_text())[1]

def pages():
    """Every page of the manual: file name (qcow2blk.8) and text."""
    found = {path.name: path.read_text() for path in sorted((ROOT / "docs/man").glob("*.[1-8]"))}
    declared = markdown.declared_pages(ROOT / "docs")
    names = {file: (page.name, page.section) for file, page in declared.items()} | markdown.written_pages(ROOT / "docs")
    for page in declared.values():
        found[page.file] = page.mdoc(names)
    library = header.Header((ROOT / "include/qcow2blk.h").read_text())
    found["libqcow2blk.3"] = library.extend_overview(found["libqcow2blk.3"])
    date = re.search(r"^\.Dd (.*)$", found["libqcow2blk.3"], re.MULTILINE)[1]
    found.update(library.function_pages(date))
    return {name: text.replace("@version@", version()) for name, text in sorted(found.items())}

def write(output, built):
    for name, text in built.items():
        folder = output / f"man{name[-1]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        # man finds a page by any name that it has.
        for alias in re.findall(r"^\.Nm (\S+)", text.split(".Sh NAME\n")[1].split("\n.Nd")[0], re.MULTILINE)[1:]:
            (folder / f"{alias}.{name[-1]}").write_text(f".so man{name[-1]}/{name}\n")
    if shutil.which("mandoc"):
        html_pages.write(output, built)
    return built

def main():
    output = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "artifacts/man")
    # Pages that no longer exist must not be installed.
    for folder in [*output.glob("man[1-8]"), output / "html"]:
        shutil.rmtree(folder, ignore_errors=True)
    built = pages()
    write(output, built)
    print(f"{len(built)} pages in {output}" + ("" if (output / "html").exists() else " (no HTML: mandoc is not installed)"))

if __name__ == "__main__":
    main()
