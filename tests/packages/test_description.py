#!/usr/bin/python3
"""Unit tests of what reads nfpm.yaml and CHANGELOG.md."""

import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "packaging/packages"))

import build
import changelog
import description
import needs

DOCUMENT = """
name: one
arch: ${ARCH}
version: ${VERSION}
release: "1"
section: admin
maintainer: nobody <nobody@example.org>
license: MIT
description: one
contents:
  - {src: "${STAGING}/usr/bin/", dst: /usr/bin, expand: true}
  - {src: "${STAGING}/usr/sbin/", dst: /usr/sbin, expand: true}
deb: {compression: xz}
"""


class Stage:
    """As far as the check of what is installed looks at it."""

    def __init__(self, folder):
        self.folder = folder

    def installed(self):
        return [f"/{path.relative_to(self.folder)}" for path in self.folder.rglob("*") if not path.is_dir()]


class Descriptions(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name, "stage")
        self.add("usr/bin/tool")

    def add(self, path):
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        path.chmod(0o775)

    def load(self, text=DOCUMENT, format_="deb"):
        path = self.folder.parent / "nfpm.yaml"
        path.write_text(text)
        return description.load(path, format_, {"STAGING": str(self.folder), "ARCH": "amd64", "VERSION": "1.2"})

    def test_folder_is_taken_whole_and_absent_one_is_passed_over(self):
        self.add("usr/bin/deeper/other")
        package, = self.load()
        self.assertEqual([(entry.path, entry.mode) for entry in package.entries],
                         [("/usr/bin/deeper/other", 0o755), ("/usr/bin/tool", 0o755)])
        self.assertEqual(package.full_version, "1.2-1")

    def test_installed_file_in_no_package_ends_the_build(self):
        packages = self.load()
        build.complain("deb", Stage(self.folder), packages)
        self.add("usr/share/surprise")
        with self.assertRaisesRegex(SystemExit, "/usr/share/surprise is installed and in no package"):
            build.complain("deb", Stage(self.folder), packages)

    def test_file_in_two_packages_ends_the_build(self):
        packages = self.load(f"{DOCUMENT}---{DOCUMENT.replace('name: one', 'name: two')}")
        with self.assertRaisesRegex(SystemExit, "/usr/bin/tool is in 2 packages"):
            build.complain("deb", Stage(self.folder), packages)

    def test_document_is_for_the_formats_it_has_a_section_for(self):
        self.assertEqual(self.load(format_="rpm"), [])

    def test_what_only_one_builder_would_do_is_refused(self):
        for line in ("replaces: [other]", "epoch: 1"):
            with self.assertRaisesRegex(description.DescriptionError, "unknown in nfpm.yaml"):
                self.load(f"{DOCUMENT}\n{line}\n")
        with self.assertRaisesRegex(description.DescriptionError, "unknown type of content: ghost"):
            self.load(DOCUMENT.replace("dst: /usr/bin,", "dst: /usr/bin, type: ghost,"))
        with self.assertRaisesRegex(description.DescriptionError, "unknown variable 'NOTHING'"):
            self.load(DOCUMENT.replace("${VERSION}", "${NOTHING}"))

    def test_file_that_is_named_must_exist(self):
        with self.assertRaisesRegex(description.DescriptionError, "absent does not exist"):
            self.load(DOCUMENT.replace("usr/sbin/", "absent"))


class Changelogs(unittest.TestCase):
    def setUp(self):
        with tempfile.NamedTemporaryFile("w", suffix=".md") as file:
            file.write("# Changelog\n\n## [Unreleased]\n\n### Added\n- New, with 5 % more\n  of it.\n\n"
                       "## [0.0.9] - 2026-01-02\n\n### Fixed\n- Old.\n")
            file.flush()
            self.releases = changelog.read(file.name, "0.1.0", 1767398400)

    def test_what_is_not_released_is_the_version_that_is_packaged(self):
        self.assertEqual(self.releases, [("0.1.0", 1767398400, ["New, with 5 % more of it."]), ("0.0.9", 1767312000, ["Old."])])

    def test_debian_and_rpm_have_their_formats(self):
        self.assertEqual(changelog.for_debian(self.releases, "tool", "1", "nobody <n@example.org>").splitlines()[:5],
                         ["tool (0.1.0-1) unstable; urgency=medium", "", "  * New, with 5 % more of it.", "",
                          " -- nobody <n@example.org>  Sat, 03 Jan 2026 00:00:00 +0000"])
        self.assertEqual(changelog.for_rpm(self.releases, "1", "nobody <n@example.org>").splitlines()[:2],
                         ["* Sat Jan 03 2026 nobody <n@example.org> - 0.1.0-1", "- New, with 5 %% more of it."])


class Symbols(unittest.TestCase):
    def test_each_function_needs_the_release_that_brought_it(self):
        versions = "# why\nQCOW2BLK_0.1 {\n    global:\n        qcow2blk_old;\n    local:\n        *;\n};\n" \
                   "QCOW2BLK_0.2 {\n    global:\n        qcow2blk_new;\n} QCOW2BLK_0.1;\n"
        self.assertEqual(needs._symbols(versions).splitlines()[2:],
                         [" QCOW2BLK_0.1@QCOW2BLK_0.1 0.1", " qcow2blk_old@QCOW2BLK_0.1 0.1",
                          " QCOW2BLK_0.2@QCOW2BLK_0.2 0.2", " qcow2blk_new@QCOW2BLK_0.2 0.2"])


if __name__ == "__main__":
    unittest.main()
