"""Debian's kernels, unpacked from their packages, never installed.

The package lists are read through apt with a configuration of our own, so that the machine's own lists stay as they
are; the mirror is the one that the machine's own sources name. What was unpacked stays under artifacts/kernel/.
"""

import contextlib
import fcntl
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "artifacts" / "kernel"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# Release that is tested -> (suites that carry it, the part of a package's name that is the kernel's version).
# The cloud flavour has all we need and is half as large.
RELEASES = {
    "6.1": (("bookworm", "bookworm-updates", "bookworm-security"), r"6\.1\.0-\d+"),
    "6.12": (("bookworm", "bookworm-backports", "bookworm-security"), r"6\.12\.\d+\+deb12"),
    "newest": (("trixie-backports",), r"\d+\.\d+\.\d+\+deb13"),
}


class Kernel:
    """An unpacked kernel: its image and the tree of its modules."""

    def __init__(self, release, folder):
        self.release = release
        self.folder = folder
        self.version = (folder / "version").read_text().strip()
        self.image = folder / "vmlinuz"
        self.modules = folder / "modules"

    def has_module(self, name):
        return any((self.modules / "kernel").rglob(f"{name}.ko*"))

    @property
    def label(self):
        """What results are printed with: 6.1, 6.12, 7.3."""
        return ".".join(self.version.split(".")[:2])


def get(release, refresh=False):
    """Returns the kernel of a release; fetches and unpacks it when it is not there yet."""
    folder = CACHE / release
    with alone():
        if refresh or not (folder / "version").exists():
            _fetch(release, folder)
    return Kernel(release, folder)


@contextlib.contextmanager
def alone():
    """Keeps runs that start at the same time from building the same files."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(release, folder):
    suites, version = RELEASES[release]
    apt = _Apt(CACHE / "apt" / release, suites)
    version, packages = _newest(apt.names(), version, release, suites)
    print(f"fetching linux {version}: {' '.join(packages)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    unpacked = folder / "unpacked"
    unpacked.mkdir(parents=True)
    for package in apt.download(packages, folder):
        subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
        package.unlink()
    _arrange(unpacked, version, folder)
    shutil.rmtree(unpacked)
    shutil.rmtree(apt.folder)
    (folder / "version").write_text(version + "\n")


def _newest(names, version, release, suites):
    """The highest version that the lists hold, and the packages that hold its image and its modules."""
    whole = re.compile(rf"linux-(image|binary)-({version}-cloud-amd64)")
    found = {match[2] for match in map(whole.fullmatch, names) if match}
    if not found:
        raise SystemExit(f"no kernel package for {release} in {' '.join(suites)} (names like {whole.pattern})")
    newest = max(found, key=lambda text: [int(digits) for digits in re.findall(r"\d+", text)])
    # From 7.3 on linux-image-* is empty: the image and the modules have packages of their own.
    split = [f"linux-binary-{newest}", f"linux-modules-{newest}"]
    return newest, split if set(split) <= names else [f"linux-image-{newest}"]


def _arrange(unpacked, version, folder):
    trees = [path for path in (unpacked / "lib/modules" / version, unpacked / "usr/lib/modules" / version)
             if (path / "kernel").is_dir()]
    images = [path for path in (unpacked / "boot" / f"vmlinuz-{version}",
                                unpacked / "usr/lib/modules" / version / "vmlinuz") if path.is_file()]
    if not trees or not images:
        raise SystemExit(f"the packages of linux {version} hold no {'image' if trees else 'modules'} where it is known to be")
    shutil.copy(images[0], folder / "vmlinuz")
    shutil.move(trees[0], folder / "modules")


class _Apt:
    """apt with sources, lists and a cache of its own."""

    def __init__(self, folder, suites):
        self.folder = folder
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._write_sources(suites)
        self.options = [text for setting in (
            f"Dir::Etc::sourcelist={folder}/sources.list", "Dir::Etc::sourceparts=-", f"Dir::State::lists={folder}/lists",
            f"Dir::Cache={folder}/cache", "Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "APT::Sandbox::User=root", "Acquire::Retries=3") for text in ("-o", setting)]
        self._run(["apt-get", *self.options, "-q", "update"])

    def _write_sources(self, suites):
        mirrors = _mirrors()
        lines = []
        for suite in suites:
            mirror = mirrors.get("security" if suite.endswith("-security") else "main")
            if mirror:
                lines.append(f"deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main\n")
        if not lines:
            raise SystemExit("the machine's package sources name no Debian mirror (apt-get indextargets)")
        (self.folder / "sources.list").write_text("".join(lines))

    def names(self):
        return set(self._run(["apt-cache", *self.options, "pkgnames", "linux-"]).split())

    def download(self, packages, folder):
        self._run(["apt-get", *self.options, "-q", "download", *packages], cwd=folder)
        return sorted(folder.glob("*.deb"))

    @staticmethod
    def _run(command, cwd=None):
        done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{command[0]} failed: {done.stderr.strip()}")
        return done.stdout


def _mirrors():
    """The mirrors in the machine's own sources: of Debian itself and of its security updates."""
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"],
                            capture_output=True, text=True, check=True).stdout
    mirrors = {}
    for line in listed.splitlines():
        suite, _, uri = line.partition(" ")
        if re.fullmatch(r"(bookworm|trixie|forky|sid)-security", suite):
            mirrors.setdefault("security", uri)
        elif re.fullmatch(r"(bookworm|trixie|forky|sid)(-updates|-backports)?", suite):
            mirrors.setdefault("main", uri)
    return mirrors
