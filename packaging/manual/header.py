"""Pages of section 3, made of the comments of include/qcow2blk.h.

A comment of a function is "name - brief", paragraphs, and paragraphs that begin with "Returns:", "Errors:", "Threads:",
"Since:". A page also has the types and macros that its function speaks of.
"""

import re
import textwrap
from dataclasses import dataclass, field

from mdoc import escape, fill, see_also, title

FUNCTION = re.compile(r"/\*\*\n(.*?)\*/\nQCOW2BLK_API\s+(.*?);\n#define (QCOW2BLK_HAVE_\w+) 1\n", re.DOTALL)
GROUP = re.compile(r"/\* -{20,} (.*) \*/")
SECTION = 3


# Of a declaration: an indent stands before it.
WIDTH = 68


@dataclass
class Function:
    """One function: its comment in parts, its declaration."""

    name: str
    brief: str
    paragraphs: list
    facts: dict
    result: str
    arguments: list
    macro: str
    group: str
    before: str
    types: list = field(default_factory=list)

    def page(self, date):
        text = title(self.name, SECTION, date, escape(self.brief))
        text += ".Sh LIBRARY\nQCOW2 images in your own process (libqcow2blk, \\-lqcow2blk)\n"
        text += ".Sh SYNOPSIS\n.In qcow2blk.h\n" + self._synopsis()
        text += ".Sh DESCRIPTION\n" + self._description()
        text += ".Sh RETURN VALUES\n" + sentence(self.facts["Returns"]) + "\n"
        if "Errors" in self.facts:
            text += ".Sh ERRORS\n" + self._errors()
        text += ".Sh THREADS\n" + threads(self.facts["Threads"]) + "\n"
        text += see_also([("libqcow2blk", SECTION)] + [(name, SECTION) for name in self._mentioned()])
        return text + f".Sh HISTORY\n.Fn {self.name}\nappeared in qcow2blk {self.facts['Since']}.\n"

    def _synopsis(self):
        arguments = "".join(f'.Fa "{argument}"\n' for argument in self.arguments)
        return f".Ft {self.result}\n.Fo {self.name}\n{arguments}.Fc\n"

    def _description(self):
        parts = [functions(paragraph) for paragraph in self.paragraphs] or [sentence(self.brief)]
        parts += [f"The macro\n.Dv {self.macro}\nis defined where the header has this function."]
        text = "\n.Pp\n".join(parts) + "\n"
        for declaration in self.types:
            text += ".Bd -literal -offset indent\n" + literal(declaration) + "\n.Ed\n"
        return text

    def _errors(self):
        errors = split_errors(self.facts["Errors"])
        text = "".join(sentence(meaning) + "\n" for codes, meaning in errors if not codes)
        if not any(codes for codes, _ in errors):
            return text
        text += "Also the negative value of:\n" if text else "The negative value of:\n"
        text += ".Bl -tag -width Er\n"
        for codes, meaning in errors:
            if codes:
                text += ".It " + " , ".join(f"Bo Er {code} Bc" for code in codes) + f"\n{sentence(meaning)}\n"
        return text + ".El\n"

    def _mentioned(self):
        text = " ".join([*self.paragraphs, *self.facts.values()])
        return {name for name in re.findall(r"(qcow2blk_\w+)\(\)", text) if name != self.name}


class Header:
    """The parsed header: its rules, its functions, its macros and types."""

    def __init__(self, text):
        self.rules = _uncomment(text[text.index("/*") + 2:text.index("*/")])
        self.functions = []
        end, group = text.index("#define QCOW2BLK_API\n"), ""
        for match in FUNCTION.finditer(text):
            before = text[end:match.start()]
            for line in GROUP.findall(before):
                group = line
            self.functions.append(_function(match, group, before))
            end = match.end()
        self.declarations = [block for function in self.functions for block in _declarations(function.before)]
        self._declare_types(self.declarations)

    def function_pages(self, date):
        return {f"{function.name}.{SECTION}": function.page(date) for function in self.functions}

    def extend_overview(self, page):
        """The overview page with the rules of all functions and the list of them in front of its SEE ALSO."""
        text = self._rules() + ".Sh FUNCTIONS\n"
        for group in dict.fromkeys(function.group for function in self.functions):
            text += f".Ss {group[0].upper()}{group[1:]}\n.Bl -tag -width Ds -compact\n"
            for function in self.functions:
                if function.group == group:
                    text += f".It Xr {function.name} {SECTION}\n{fill(escape(function.brief))}\n"
            text += ".El\n"
        return page.replace(".Sh SEE ALSO\n", text + ".Sh SEE ALSO\n", 1)

    def _rules(self):
        """The comment at the head of the header: headings in capitals, and paragraphs that begin with a word."""
        text = ""
        for paragraph in _paragraphs(self.rules)[2:]:
            if paragraph.isupper():
                text += f".Sh {paragraph}\n"
            else:
                text += ("" if text.endswith(".Sh " + text.rsplit(".Sh ", 1)[-1]) and text.count("\n") and
                         text.rstrip("\n").rsplit("\n", 1)[-1].startswith(".Sh") else ".Pp\n") + functions(paragraph) + "\n"
        return text

    def _declare_types(self, declarations):
        """Each function shows the declarations that its page speaks of, and those that these need."""
        for function in self.functions:
            text, before = " ".join([*function.arguments, *function.paragraphs, *function.facts.values()]), ""
            while text != before:
                before = text
                function.types = [declaration for declaration in declarations if _is_used(declaration, text)]
                text = " ".join([*function.types, *function.arguments, *function.paragraphs, *function.facts.values()])


def _is_used(declaration, text):
    """Whether the text has a name that is declared there; QCOW2BLK_STATE_* means all that begin so."""
    defined = re.findall(r"^#define (\w+)|^struct (\w+) \{|^typedef .*?(\w+)(?: \(.*\))?;", declaration, re.MULTILINE | re.DOTALL)
    names = ["".join(name) for name in defined]
    prefixes = re.findall(r"\b(QCOW2BLK_\w+_)\*", text)
    return any(re.search(rf"\b{name}\b", text) or name.startswith(tuple(prefixes)) for name in names)


def _function(match, group, before):
    paragraphs, facts = [], {}
    name, brief = re.fullmatch(r"(\w+) - (.*)", (parts := _paragraphs(_uncomment(match[1])))[0]).groups()
    for paragraph in parts[1:]:
        # The facts are one paragraph, each from its word on.
        pieces = re.split(r"(?:^|\s)(Returns|Errors|Threads|Since): ", paragraph)
        if pieces[0]:
            paragraphs.append(pieces[0])
        facts.update(zip(pieces[1::2], pieces[2::2]))
    if missing := {"Returns", "Threads", "Since"} - facts.keys():
        raise SystemExit(f"include/qcow2blk.h: {name} does not say {', '.join(sorted(missing))}")
    result, arguments = re.fullmatch(rf"(.*?)\s*\b{name}\s*\((.*)\)", " ".join(match[2].split())).groups()
    return Function(name, brief, paragraphs, facts, result, arguments.split(", "), match[3], group, before)


def _uncomment(text):
    return "\n".join(re.sub(r"^ \* ?", "", line) for line in text.split("\n"))


def _paragraphs(text):
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def _declarations(text):
    """Comments with what they are about: a type, or macros without a blank line between them."""
    blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", text)]
    return [block for block in blocks if re.search(r"^(struct|typedef|#define QCOW2BLK_(?!API|HAVE))", block, re.MULTILINE)]


def split_errors(text):
    """Pairs of error names and what they mean; names are empty for "as another function", and what stands behind it."""
    found = []
    for part in re.split(r"; (?=(?:[A-Z][A-Z0-9]+\b)|as )", text):
        codes = re.match(r"((?:[A-Z][A-Z0-9]{2,}(?:, | and others of | and )?)+)(?::\s*)?", part)
        if not codes:
            found.append(([], part))
            continue
        names = re.findall(r"[A-Z][A-Z0-9]{2,}", codes[1])
        meaning = part[codes.end():] or GENERAL.get(names[0], "")
        if " and others of" in codes[1]:
            meaning = f"also other errors of {meaning}"
        found.append((names, meaning))
    return found


# Errors that need no word in the header.
GENERAL = {"EMFILE": "too many open files", "ENOMEM": "not enough memory"}


def sentence(text):
    """A fact of the header as a sentence, with the names of functions marked."""
    text = text[0].upper() + text[1:] if re.match(r"[a-z]+\b(?!_)", text) else text
    return functions(text if text.endswith(".") else text + ".")


def threads(text):
    known = {"any": "Any thread may call it, at any time."}
    return known.get(text) or sentence(text)


def functions(text):
    """Text in which functions of the library have a macro."""
    lines = []
    for piece in re.split(r"(\(?\b[a-z]\w+\(\)[^\s\w]*)", text):
        if match := re.fullmatch(r"(\(?)(\w+)\(\)([^\s\w]*)", piece):
            lines.append((".Pf ( Fn " if match[1] else ".Fn ") + match[2] + "".join(" " + mark for mark in match[3]))
        elif piece.strip():
            lines.append(fill(escape(piece.strip())))
    return "\n".join(lines)


def literal(text):
    """A declaration in lines that fit beside its indent."""
    lines = []
    text = re.sub(r"/\*(?:[^*]|\*(?!/))*\*/", lambda comment: re.sub(r"\s*\n \* ?| *\n +", " ", comment[0]), text)
    for line in text.split("\n"):
        if len(line) <= WIDTH:
            lines.append(line)
            continue
        code, comment = re.fullmatch(r"(.*?)\s*(/\*.*\*/)?", line).groups()
        indent = re.match(r" *", line)[0]
        # What stood behind a member stands above it, where there is more room.
        lines += textwrap.wrap(comment or "", WIDTH, initial_indent=indent, subsequent_indent=indent + " * ")
        wrapped = textwrap.wrap(code.strip(), WIDTH, initial_indent=indent, subsequent_indent=indent + "    ")
        if lines and lines[-1].endswith("\\"):
            wrapped[:-1] = [part + " \\" for part in wrapped[:-1]]
        lines += wrapped
    return "\n".join(escape(line) for line in lines)
