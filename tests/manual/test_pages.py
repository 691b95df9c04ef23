"""Pages of the manual that a reader can rely on: no complaint of mandoc or groff, no reference into nowhere."""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging/manual"))

import build  # noqa: E402
import header  # noqa: E402
import markdown  # noqa: E402

# Pages of other programs that ours may name.
KNOWN = set("""
apparmor(7) bash(1) blktrace(8) capabilities(7) cryptsetup(8) environ(7) errno(3) eventfd(2) fish(1) fork(2) fsfreeze(8) fstab(5)
guestmount(1) io_uring(7) losetup(8) mkfs(8) mount(8) nbd-client(8) nbdcopy(1) nbdinfo(1) nbdkit(1) open(2) qemu(1)
qemu-img(1) qemu-nbd(8) sd_listen_fds(3) sd_notify(3) sha256sum(1) sync(1) syslog(3) systemctl(1) systemd(1) systemd.exec(5)
systemd.mount(5) systemd.socket(5) systemd.unit(5) udev(7) udevadm(8) umount(8) zsh(1)
""".split())

# mandoc looks for pages on this machine, and does not know a system named qcow2blk; both are checked here instead. Some
# headings look like others mistyped.
OTHERWISE = re.compile(r"referenced manual not found|operating system explicitly specified|"
                       r"possible typo in section name: Sh (SIZE|NAMES|FILTERS) ")

PAGES = build.pages()
FROM_MARKDOWN = {page.file for page in markdown.declared_pages(ROOT / "docs").values()}


def run(*command, text):
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def literal_lines(text):
    lines = "".join(re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", text, re.MULTILINE | re.DOTALL)).splitlines()
    return {line.removeprefix("\\&").replace("\\-", "-").replace("\\e", "\\").strip() for line in lines}


def references(text):
    return re.findall(r"\bXr (\S+) (\d)", text)


class Pages(unittest.TestCase):
    def expect_nothing(self, complaints_of):
        """Asks for the complaints about each page, and shows all."""
        found = {name: complaints for name, text in PAGES.items() if (complaints := complaints_of(name, text))}
        self.assertEqual({}, found)

    def test_mandoc_has_nothing_to_say(self):
        def complaints(_, text):
            # What it says of its database of pages goes to standard error.
            said = run("mandoc", "-Tlint", "-Wstyle", text=text).stdout
            return [line for line in said.splitlines() if not OTHERWISE.search(line)]
        self.expect_nothing(complaints)

    def test_groff_has_nothing_to_say(self):
        if not shutil.which("groff"):
            self.skipTest("groff is not installed")
        self.expect_nothing(lambda _, text: run("groff", "-t", "-mandoc", "-Tutf8", "-ww", "-z", text=text).stderr)

    def test_pages_fit_on_a_terminal_of_80_columns(self):
        def complaints(name, text):
            shown = re.sub(r".\x08", "", run("mandoc", "-Tutf8", "-Owidth=78", text=text).stdout)
            # What is literal in docs/*.md may be as long as other lines there: a terminal breaks it.
            literal = literal_lines(text) if name in FROM_MARKDOWN else ()
            return [line for line in shown.splitlines() if len(line.expandtabs()) > 80 and line.strip() not in literal]
        self.expect_nothing(complaints)

    def test_head_names_the_page_and_the_version(self):
        for name, text in PAGES.items():
            stem, section = name[:-2], name[-1]
            self.assertRegex(text, rf"(?m)^\.Dd [A-Z][a-z]+ \d+, 20\d\d\n\.Dt {re.escape(stem.upper())} {section}\n"
                                   rf"\.Os qcow2blk {re.escape(build.version())}\n\.Sh NAME\n"
                                   rf"\.Nm {re.escape(stem)}(?: ,\n\.Nm \S+)*\n\.Nd \S")

    def test_every_reference_leads_somewhere(self):
        self.expect_nothing(lambda _, text: [f"{page}({section})" for page, section in references(text)
                                             if f"{page}.{section}" not in PAGES and f"{page}({section})" not in KNOWN])

    def test_every_page_is_found_from_the_first_one(self):
        found, left = set(), ["qcow2blk.8"]
        while left:
            page = left.pop()
            if page not in found and page in PAGES:
                found.add(page)
                left += [f"{name}.{section}" for name, section in references(PAGES[page])]
        self.assertEqual(set(), set(PAGES) - found)

    def test_see_also_is_in_order_of_sections_and_names(self):
        for name, text in PAGES.items():
            named = references(text.split(".Sh SEE ALSO\n")[-1].split(".Sh ")[0])
            self.assertTrue(named, name)
            self.assertEqual(sorted(named, key=lambda page: (page[1], page[0])), named, name)


class Built(unittest.TestCase):
    def test_every_name_of_a_page_is_found_by_man(self):
        with tempfile.TemporaryDirectory() as folder:
            build.write(Path(folder), {name: text for name, text in PAGES.items() if name == "mount.qcow2.8"})
            self.assertEqual(".so man8/mount.qcow2.8\n", Path(folder, "man8/umount.qcow2.8").read_text())


class Library(unittest.TestCase):
    def setUp(self):
        self.text = (ROOT / "include/qcow2blk.h").read_text()

    def test_every_function_of_the_header_has_a_page_and_no_other(self):
        declared = set(re.findall(r"^QCOW2BLK_API[^;]*?\b(qcow2blk_\w+) \(", self.text, re.MULTILINE))
        self.assertTrue(declared)
        self.assertEqual(declared, {name[:-2] for name in PAGES if name.startswith("qcow2blk_")})

    def test_every_type_and_macro_is_on_a_page(self):
        shown = "".join(text for name, text in PAGES.items() if name.endswith(".3")).replace("\\-", "-")
        named = set(re.findall(r"^#define (QCOW2BLK_\w+)|^struct (\w+) \{|^typedef struct \w+ (\w+);", self.text, re.MULTILINE))
        missing = ["".join(name) for name in named if not re.search(rf"\b{''.join(name)}\b", shown)]
        self.assertEqual([], sorted(set(missing) - {"QCOW2BLK_H", "QCOW2BLK_API"}))

    def test_every_error_of_a_function_is_on_its_page(self):
        for function in header.Header(self.text).functions:
            with self.subTest(function.name):
                for code in re.findall(r"\bE[A-Z0-9]{3,}\b", function.facts.get("Errors", "")):
                    self.assertIn(f"Er {code}", PAGES[f"{function.name}.3"])


if __name__ == "__main__":
    unittest.main()
