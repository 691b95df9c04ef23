"""Writing mdoc: text whose characters mean themselves, lines that fit on a screen."""

import re
import textwrap

# mandoc calls longer lines of text bad style.
WIDTH = 78

SENTENCE_END = re.compile(r"(?<=\w[.?!])\s+(?=[A-Z\"\\(])|(?<=[)\"P][.?!])\s+(?=[A-Z\"\\(])|(?<=[.?!][)\"])\s+(?=[A-Z\"\\(])")


def escape(text):
    """Characters that roff takes for something else. A hyphen that stands for itself is not one between two words."""
    text = text.replace("\\", "\\e")
    # --option, -EINVAL, qcow2blk-attach, /dev/x-part1, attach-options.md: what is typed. "read-only" is a word.
    text = re.sub(r"(?<![A-Za-z0-9])-(?=[A-Za-z0-9-])|-(?=\d)", r"\\-", text)
    return text.replace("…", "...").replace("’", "'")


def argument(text):
    """Text of a macro, where a quote would hold words together."""
    return text.replace('"', "\\(dq")


def control(line):
    """A line that begins like a macro, but is text."""
    return "\\&" + line if line[:1] in (".", "'") else line


def fill(text):
    """A paragraph in lines, each sentence on a line of its own, as mdoc wants it."""
    lines = []
    for sentence in SENTENCE_END.split(" ".join(text.split())):
        lines += textwrap.wrap(sentence, WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(control(line) for line in lines)


def title(name, section, date, description):
    """The head of a page, up to its description."""
    return (f".Dd {date}\n.Dt {name.upper()} {section}\n.Os qcow2blk @version@\n"
            f".Sh NAME\n.Nm {name}\n.Nd {argument(description)}\n")


def see_also(references):
    """The section SEE ALSO: names of pages with their sections, in the order that mdoc wants."""
    ordered = sorted(set(references), key=lambda page: (page[1], page[0]))
    return ".Sh SEE ALSO\n" + " ,\n".join(f".Xr {name} {section}" for name, section in ordered) + "\n"
