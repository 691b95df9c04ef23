#!/usr/bin/python3
"""Compares the header with what the installed library exports, with the bindings, with the tests and with older headers.

Usage: tests/abi/names.py PREFIX    (where the library is installed: artifacts/abi/root/usr)
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
NODE = "QCOW2BLK_0.1"
SONAME = "libqcow2blk.so.0"

problems = []


def compare(what, expected, found):
    """Both ways: what is missing, and what is too much."""
    for name in sorted(set(expected) - set(found)):
        problems.append(f"{what}: {name} is missing")
    for name in sorted(set(found) - set(expected)):
        problems.append(f"{what}: {name} is not in the header")


class Header:
    """Functions, macros, structures and function types of a header, each by its name as normalized text."""

    def __init__(self, path):
        text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.DOTALL)
        self.macros = {name: " ".join(value.split()) for name, value in
                       re.findall(r"^#define (QCOW2BLK_\w+)[ \t]+((?:[^\n]*\\\n)*[^\n]+)$", text, re.MULTILINE)}
        self.functions = {name: " ".join(f"{result} ({parameters})".split()) for result, name, parameters in
                          re.findall(r"^QCOW2BLK_API\s+([\w\s]+?[\s*]+)(qcow2blk_\w+)\s*\(([^)]*)\);", text, re.MULTILINE)}
        self.types = {name: " ".join(f"{result} ({parameters})".split()) for result, name, parameters in
                      re.findall(r"^typedef\s+([\w\s]+?[\s*]+)(qcow2blk_\w+)\s*\(([^)]*)\);", text, re.MULTILINE)}
        self.structs = {name: [" ".join(field.split()) for field in fields.split(";") if field.strip()] for name, fields in
                        re.findall(r"^struct (qcow2blk_\w+) \{(.*?)^\};", text, re.MULTILINE | re.DOTALL)}


def check_macros(header):
    macros = [name.removeprefix("QCOW2BLK_HAVE_") for name in header.macros if name.startswith("QCOW2BLK_HAVE_")]
    compare("QCOW2BLK_HAVE_ macros", [name.removeprefix("qcow2blk_").upper() for name in header.functions], macros)


def check_exports(header, library):
    listing = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", library],
                             check=True, capture_output=True, text=True).stdout
    exports = {}
    for line in listing.splitlines():
        kind, symbol = line.split()[-2:]
        name, _, version = symbol.partition("@")
        if kind == "A" and name == NODE:
            continue
        exports[name] = version.lstrip("@")
    compare(f"exports of {library.name}", header.functions, exports)
    for name, version in exports.items():
        if version != NODE:
            problems.append(f"exports of {library.name}: {name} has the version \"{version}\" instead of {NODE}")
    dynamic = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    if f"[{SONAME}]" not in dynamic:
        problems.append(f"{library.name}: its soname is not {SONAME}")


def check_older(header, path):
    """What a client of that header was compiled against is still there, and means the same."""
    older = Header(path)
    for kind in ("functions", "types", "macros"):
        for name, text in getattr(older, kind).items():
            now = getattr(header, kind).get(name)
            if now != text and not re.match(r"QCOW2BLK_VERSION", name):
                problems.append(f"{path.name}: {name} was \"{text}\" and is \"{now}\"")
    for name, fields in older.structs.items():
        now = header.structs.get(name, [])
        grows = fields[0] == "uint32_t size"
        if (now[:len(fields)] if grows else now) != fields:
            problems.append(f"{path.name}: struct {name} has changed")


def words(text):
    return set(re.findall(r"\w+", text))


def without_comments(text, language):
    return re.sub(r"#.*", "", text) if language == "python" else re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


# How a function begins in sources that the language's formatter has laid out; it ends at the next line of the same depth.
DEFINITION = {
    "c": r"^()(\w+) \(",
    "go": r"^()func (?:\([^)]*\) )?(\w+)",
    "rust": r"^( *)(?:pub(?:\([a-z]+\))? )?(?:(?:const|async|unsafe) )*(?:extern \"C\" )?fn (\w+)",
    "python": r"^( *)(?:def (?=\w+\()|(?=\w+ = (?:property|staticmethod)\())(\w+)",
}

# What a program runs without naming it.
IMPLICIT = {"go": set(), "rust": {"drop", "poll", "fmt", "from"}, "python": {"__init__", "__enter__", "__exit__", "__del__"}}


def definitions(text, language):
    """Every function of a source, as its name and the words of its body."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        begins = re.match(DEFINITION[language], line)
        if not begins:
            continue
        end = start + 1
        if not (line.rstrip().endswith("}") and "{" in line) and not line.rstrip().endswith(";"):
            while end < len(lines) and (not lines[end].strip() or not re.match(rf"{begins[1]}[^\s){{]", lines[end])):
                end += 1
        yield begins[2], words("\n".join(lines[start:end])) - {begins[2]}


def reached(tests, sources, language):
    """Every word that the tests say, or that a function says which is named by a word reached before."""
    known = words("\n".join(tests.values())) | IMPLICIT[language]
    functions = [found for path, source in sources.items()
                 for found in definitions(source, "c" if path.suffix in {".c", ".h"} else language)]
    grown = True
    while grown:
        grown = False
        for name, body in functions:
            if name in known and not body <= known:
                known |= body
                grown = True
    return known


def read_all(folder, suffixes, language):
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in suffixes and "target" not in path.parts]
    return {path: without_comments(path.read_text(), language) for path in files}


def check_binding(header, language, folder, suffixes, is_test, declaration):
    """Every function is bound, and no other; and the tests of the language reach every one."""
    if not folder.is_dir():
        problems.append(f"bindings/{language}: the folder is missing")
        return
    files = read_all(folder, suffixes, language)
    tests = {path: text for path, text in files.items() if is_test(path.relative_to(folder))}
    # Rust keeps unit tests in the source: what stands behind this line is a test.
    tests |= {f"tests in {path}": text.split("#[cfg(test)]", 1)[1] for path, text in files.items() if "#[cfg(test)]" in text}
    sources = {path: text.split("#[cfg(test)]", 1)[0] for path, text in files.items() if path not in tests}
    not_functions = set(header.structs) | set(header.types) | {"qcow2blk_image", "qcow2blk_device", "qcow2blk_queue", "qcow2blk_options"}
    bound = {name for text in sources.values() for name in re.findall(declaration, text)} - not_functions
    compare(f"bindings/{language}", header.functions, bound)
    known = reached(tests, sources, language)
    for name in sorted(set(header.functions) - known):
        problems.append(f"tests of bindings/{language}: none reaches {name}")


def check_c(header):
    text = "".join(path.read_text() for path in sorted((ROOT / "tests/abi/c").glob("[0-9]*.c")))
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    for name in header.functions:
        if not re.search(rf"\b{name} \(", text):
            problems.append(f"tests/abi/c: none calls {name}")


def main():
    prefix = pathlib.Path(sys.argv[1])
    header = Header(prefix / "include/qcow2blk.h")
    if len(header.functions) < 50:
        problems.append(f"the header has only {len(header.functions)} functions: is it read right?")
    check_macros(header)
    check_exports(header, prefix / "lib" / SONAME)
    for older in sorted((ROOT / "tests/abi/old-client").glob("*.h")):
        check_older(header, older)
    check_c(header)
    bindings = ROOT / "bindings"
    check_binding(header, "go", bindings / "go", {".go", ".c", ".h"},
                  lambda path: path.name.endswith("_test.go"), r"\b(qcow2blk_\w+)(?=\s*\()")
    check_binding(header, "rust", bindings / "rust", {".rs"},
                  lambda path: "tests" in path.parts, r"\bfn (qcow2blk_\w+)")
    check_binding(header, "python", bindings / "python", {".py"},
                  lambda path: "tests" in path.parts, r"\b(qcow2blk_\w+)\b")
    for problem in problems:
        print(problem)
    print(f"{len(header.functions)} functions, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
