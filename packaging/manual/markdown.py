"""Pages of the manual that are written in Markdown, in docs/, so that both a browser and man show them.

A file is one if its second line is a comment like the first of these. The second is for a file whose matter is on a page in docs/man.
  <!-- manual: qcow2blk-nbd(7), November 29, 2026: what of the NBD protocol is served -->
  <!-- in the manual: qcow2blk-attach(8) -->
Known are headings, paragraphs, lists without lists in them, tables, literal blocks, code, emphasis and links.
"""

import re
from dataclasses import dataclass

from mdoc import argument, control, escape, fill, see_also, title

DECLARATION = re.compile(r"^<!-- manual: (\S+)\((\d)\), (\w+ \d+, \d+): (.*) -->$", re.MULTILINE)
ELSEWHERE = re.compile(r"^<!-- in the manual: (\S+)\((\d)\) -->$", re.MULTILINE)
INLINE = re.compile(r"`([^`]+)`|\[([^\]]+)\]\(([^)]+)\)|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*")

# A table wider than this has text in its cells that must be filled.
TABLE_WIDTH = 66

# With less for the last column, a table is mostly white: then it becomes a list.
LAST_COLUMN = 24


@dataclass
class Page:
    """One file: what it says of itself, and its text."""

    name: str
    section: int
    date: str
    description: str
    text: str

    @property
    def file(self):
        return f"{self.name}.{self.section}"

    def mdoc(self, names):
        """Its text as mdoc. Names: what links may lead to, name and section of a page by the name of a file."""
        return Writer(self, names).write()


def declared_pages(folder):
    """The pages of a folder by the names of their files."""
    found = {}
    for path in sorted(folder.glob("*.md")):
        text = path.read_text()
        if match := DECLARATION.search(text):
            body = text[match.end():]
            found[path.name] = Page(match[1], int(match[2]), match[3], match[4], body)
    return found


def written_pages(folder):
    """The pages in mdoc that say what files of a folder say: name and section, by the names of these files."""
    found = {path.name: ELSEWHERE.search(path.read_text()) for path in sorted(folder.glob("*.md"))}
    return {name: (match[1], int(match[2])) for name, match in found.items() if match}


class Writer:
    """Turns the blocks of one page into mdoc."""

    def __init__(self, page, names):
        self.page, self.names = page, names
        self.references = {("qcow2blk", 8)}
        self.lines = []

    def write(self):
        lines = self.page.text.strip("\n").split("\n")
        if not lines[0].startswith("## "):
            self._add(".Sh DESCRIPTION")
        while lines:
            self._block(lines)
        head = title(self.page.name, self.page.section, self.page.date, escape(self.page.description))
        tables = "'\\\" t\n" if ".TS" in self.lines else ""
        return tables + head + "\n".join(self.lines) + "\n" + see_also(self.references - {(self.page.name, self.page.section)})

    def _add(self, *lines):
        self.lines += lines

    def _block(self, lines):
        """Takes one block from the front of the lines."""
        first = lines[0]
        if not first.strip() or first.startswith("<!--"):
            lines.pop(0)
        elif match := re.match(r"(#{2,3}) (.*)", lines[0]):
            lines.pop(0)
            heading = argument(escape(match[2].replace("`", "")))
            self._add(f".Sh {heading.upper()}" if len(match[1]) == 2 else f".Ss {heading}")
        elif first.startswith("```"):
            self._literal(_take(lines, lambda line: not line.startswith("```"), skip=1))
            lines.pop(0)
        elif first.startswith("|"):
            self._table(_take(lines, lambda line: line.startswith("|")))
        elif re.match(r"- |\d+\. ", first):
            self._list(_take(lines, lambda line: re.match(r"- |\d+\. |  ", line)))
        else:
            self._paragraph(_take(lines, lambda line: line.strip() and not re.match(r"#|```|\||- |\d+\. ", line)))

    def _apart(self):
        """A blank line, where none comes by itself."""
        if not self.lines[-1].startswith((".Sh", ".Ss")):
            self._add(".Pp")

    def _paragraph(self, lines):
        self._apart()
        self._add(self._inline(" ".join(lines)))

    def _literal(self, lines):
        self._add(".Bd -literal -offset indent", *(control(escape(line)) for line in lines), ".Ed")

    def _list(self, lines):
        self._add(".Bl -bullet" if lines[0].startswith("- ") else ".Bl -enum")
        for item in re.split(r"\n(?=- |\d+\. )", "\n".join(lines)):
            self._add(".It", self._inline(re.sub(r"^(- |\d+\. )", "", item)))
        self._add(".El")

    def _table(self, lines):
        rows = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in lines]
        head, rows = rows[0], rows[2:]
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        # A word cannot be broken: groff would say so, and write over the next column.
        words = [max(len(word) for row in [head, *rows] for word in row[column].replace("`", "").split(" ")) for column in range(len(head))]
        narrow = [max(min(width, 24), word) for width, word in zip(widths[:-1], words)]
        if sum(widths) + 2 * len(widths) <= TABLE_WIDTH:
            self._tbl(head, rows, ["l"] * len(head), filled=False)
        elif len(head) == 2 or TABLE_WIDTH - sum(narrow) < LAST_COLUMN:
            self._tags([(row[0], self._joined(head, row)) for row in rows])
        else:
            self._tbl(head, rows, [f"lw({width})" for width in narrow] + ["lx"], filled=True)

    def _joined(self, head, row):
        """What stands beside the first cell, as a text; where columns are compared, each on a line of its own."""
        if not head[0]:
            return [f"{name}: {cell}" for name, cell in zip(head[1:], row[1:]) if cell]
        named = [cell if column == 1 or head[column] in ("notes", "meaning", "") else f"{head[column]}: {cell}"
                 for column, cell in enumerate(row) if column and cell]
        return ["; ".join(named)]

    def _tags(self, rows):
        self._add(".Bl -tag -width Ds")
        for tag, texts in rows:
            # In an argument of a macro, a word that is the name of another macro would be called.
            words = [re.sub(r"^([A-Z%][A-Za-z0-9])$", r"\\&\1", word) for word in argument(self._plain(tag)).split(" ")]
            self._add(".It " + " ".join(words), "\n.br\n".join(self._inline(text) for text in texts))
        self._add(".El")

    def _tbl(self, head, rows, columns, filled):
        self._apart()
        self._add(".TS", " ".join(columns) + ".")
        if any(head):
            self._add("\t".join(f"\\fI{escape(cell)}\\fP" for cell in head))
        for row in rows:
            cells = [self._plain(cell) for cell in row]
            self._add("\t".join(f"T{{\n{fill(cell)}\nT}}" if filled and cell else cell for cell in cells))
        self._add(".TE")

    def _plain(self, text):
        """Text without macros: references to other pages are words."""
        return "".join(part if isinstance(part, str) else f"{part[0]}({part[1]})" for part in self._parts(text))

    def _inline(self, text):
        """Text in lines, each reference to another page being a macro."""
        lines, buffer = [], ""
        for part in self._parts(" ".join(text.split())):
            if isinstance(part, str):
                if lines and not buffer and (match := re.match(r"[.,;:)]+", part)) and lines[-1].startswith((".Xr", ".Pf")):
                    lines[-1] += "".join(" " + mark for mark in match[0])
                    part = part[match.end():]
                buffer += part
                continue
            prefix = buffer.endswith("(")
            buffer = buffer.removesuffix("(")
            if buffer.strip():
                lines.append(fill(buffer))
            buffer = ""
            lines.append((".Pf ( Xr " if prefix else ".Xr ") + f"{part[0]} {part[1]}")
        if buffer.strip():
            lines.append(fill(buffer))
        return "\n".join(lines)

    def _parts(self, text):
        """Strings, and pairs of name and section for references."""
        end = 0
        for match in INLINE.finditer(text):
            # "?" behind a name does not end a sentence.
            yield escape(text[end:match.start()]).replace("? ", "?\\& ")
            end = match.end()
            code, label, target, strong, emphasis = match.groups()
            if code:
                yield f"\\fB{unbroken(code)}\\fP"
            elif strong:
                yield f"\\fB{escape(strong)}\\fP"
            elif emphasis:
                yield f"\\fI{escape(emphasis)}\\fP"
            else:
                yield from self._link(label, target)
        yield escape(text[end:])

    def _link(self, label, target):
        label = label.replace("`", "")
        page = self.names.get(target.split("#")[0].rsplit("/", 1)[-1])
        if page is None:
            yield escape(label) + (f" <{escape(target)}>" if target.startswith("http") else "")
            return
        self.references.add(page)
        if label.endswith(".md"):
            yield page
            return
        yield escape(label) + " ("
        yield page
        yield ")"


def unbroken(code):
    """What is typed is not broken at a hyphen."""
    return escape(code).replace("\\-", "-").replace("-", "\\-")


def _take(lines, wanted, skip=0):
    """Removes lines from the front, as long as they are wanted, and returns them."""
    del lines[:skip]
    count = 0
    while count < len(lines) and wanted(lines[count]):
        count += 1
    taken = lines[:count]
    del lines[:count]
    return taken
