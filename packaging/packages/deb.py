"""Builds a deb by dpkg-deb, as nfpm would, and with what nfpm cannot express: shlibs and symbols."""

import gzip
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import changelog

SCRIPTS = {"preinstall": "preinst", "postinstall": "postinst", "preremove": "prerm", "postremove": "postrm"}
SCRIPT_MODE, FILE_MODE = 0o755, 0o644


def file_name(package):
    return f"{package.name}_{package.full_version}_{package.arch}.deb"


def build(package, releases, extra, work, result):
    """Builds the deb of a package. "extra" are more control files, by name."""
    tree = work / f"{package.name}-deb"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for entry in package.entries:
        _place(entry, tree)
    if "changelog" in package.document:
        path = tree / f"usr/share/doc/{package.name}/changelog.Debian.gz"
        _write(path, gzip.compress(changelog.for_debian(releases, package.name, package.release, package.maintainer).encode(), 9, mtime=0))
    _control(package, extra, tree)
    # Modes of folders are those of the packages, not of whoever builds.
    for folder, _, _ in os.walk(tree):
        os.chmod(folder, 0o755)
    for entry in package.entries:
        if entry.kind == "dir":
            (tree / entry.path.lstrip("/")).chmod(entry.mode)
    _pack(tree, result, package.special["compression"])
    shutil.rmtree(tree)


def add_control(path, extra, work):
    """Adds control files to a deb that nfpm built."""
    tree = work / "more-control"
    shutil.rmtree(tree, ignore_errors=True)
    subprocess.run(["dpkg-deb", "--raw-extract", path, tree], check=True)
    tree.chmod(0o755)
    for name, content in extra.items():
        _write(tree / "DEBIAN" / name, content.encode())
    _pack(tree, path, "xz")


def _pack(tree, result, compression):
    # One thread: with several, xz writes other bytes.
    subprocess.run(["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--threads-max=1", "--build", tree, result],
                   check=True, stdout=subprocess.DEVNULL)


def _place(entry, tree):
    path = tree / entry.path.lstrip("/")
    if entry.kind == "dir":
        path.mkdir(parents=True, exist_ok=True)
    elif entry.kind == "symlink":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(entry.source)
    else:
        _write(path, Path(entry.source).read_bytes(), entry.mode)


def _write(path, content, mode=FILE_MODE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _control(package, extra, tree):
    files = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()]
    # As Debian's own tools count: each file in whole KiB, and one for everything else.
    size = sum((path.stat().st_size + 1023) // 1024 for path in files) + sum(path not in files for path in tree.rglob("*"))
    sums = "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files)
    control = tree / "DEBIAN"
    _write(control / "control", _fields(package, size).encode())
    _write(control / "md5sums", sums.encode())
    conffiles = [entry.path for entry in package.entries if entry.type.startswith("config")]
    if conffiles:
        _write(control / "conffiles", "".join(path + "\n" for path in conffiles).encode())
    triggers = package.special.get("triggers", {})
    if triggers:
        _write(control / "triggers", "".join(f"{kind.replace('_', '-')} {name}\n" for kind in triggers for name in triggers[kind]).encode())
    for key, script in package.scripts.items():
        _write(control / SCRIPTS[key], Path(script).read_bytes(), SCRIPT_MODE)
    for name, content in extra.items():
        _write(control / name, content.encode())


def _fields(package, size):
    fields = {"Package": package.name, "Version": package.full_version, "Section": package.document["section"], "Priority": "optional",
              "Architecture": package.arch, "Maintainer": package.maintainer, "Installed-Size": str(size)}
    for key in ("provides", "depends", "recommends", "suggests"):
        if getattr(package, key):
            fields[key.capitalize()] = ", ".join(getattr(package, key))
    fields.update(package.special.get("fields", {}))
    fields["Description"] = package.description.strip().replace("\n", "\n ")
    return "".join(f"{key}: {text}\n" for key, text in fields.items())
