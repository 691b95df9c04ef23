"""The manual as HTML, by mandoc: a file for each page, and an index."""

import html
import re
import shutil
import subprocess
from pathlib import Path

STYLE = Path(__file__).resolve().parent / "manual.css"
SECTIONS = {1: "Commands", 3: "The C library", 5: "Files and formats", 7: "Protocols and background", 8: "Administration"}


def write(output, pages):
    folder = output / "html"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(STYLE, folder / STYLE.name)
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(_convert(text, pages))
    (folder / "index.html").write_text(_index(pages))


def _convert(text, pages):
    made = subprocess.run(["mandoc", "-Thtml", "-Ostyle=manual.css,man=%N.%S.html"], input=text, capture_output=True, text=True, check=True)
    # Pages of other programs are not here.
    return re.sub(r'<a class="Xr" href="([^"]*)\.html">(.*?)</a>',
                  lambda link: link[0] if link[1] in pages else f'<span class="Xr">{link[2]}</span>', made.stdout)


def _index(pages):
    parts = ['<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
             '<meta name="viewport" content="width=device-width, initial-scale=1.0"/>\n'
             '<link rel="stylesheet" href="manual.css" type="text/css" media="all"/>\n<title>qcow2blk: the manual</title>\n'
             '</head>\n<body>\n<h1>qcow2blk: the manual</h1>\n']
    for section, heading in sorted(SECTIONS.items(), reverse=True):
        names = [name for name in pages if name.endswith(f".{section}")]
        if not names:
            continue
        parts.append(f"<h2>{heading}</h2>\n<table>\n")
        for name in names:
            description = re.search(r"^\.Nd (.*)$", pages[name], re.MULTILINE)[1].replace("\\-", "-")
            parts.append(f'<tr><td><a class="Xr" href="{name}.html">{name[:-2]}({section})</a></td>'
                         f"<td>{html.escape(description)}</td></tr>\n")
        parts.append("</table>\n")
    return "".join(parts) + "</body>\n</html>\n"
