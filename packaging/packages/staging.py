"""What is packaged: the tree of "make install", debug symbols apart, and the notices of what is linked in."""

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}


def source_version():
    return re.search("<VersionPrefix>(.*)</VersionPrefix>", Path("Directory.Build.props").read_text())[1]


class Stage:
    """A tree to be packaged, for one format and architecture."""

    def __init__(self, folder, format_, arch, rid, version):
        self.folder, self.format, self.arch, self.rid, self.version = folder, format_, arch, rid, version
        self.root, self.doc, self.debug = folder / "root", folder / "doc", folder / "debug"
        self.libdir = "/usr/lib64" if format_ == "rpm" else f"/usr/lib/{TRIPLETS[arch]}"
        self.command = self.root / "usr/bin/qcow2blk"
        self.library = self.root / f"{self.libdir.lstrip('/')}/libqcow2blk.so.{version}"
        # As the Makefile has it.
        self.built = Path("artifacts" if self.is_native() else f"artifacts/{arch}")

    def is_native(self):
        return os.uname().machine == {"amd64": "x86_64", "arm64": "aarch64"}[self.arch]

    def tool(self, name):
        """A tool of binutils for the architecture."""
        return name if self.is_native() else f"{TRIPLETS[self.arch].replace('_', '-')}-{name}"

    def fill(self):
        self._install()
        for name, file, dbg in (("command", self.command, "qcow2blk.dbg"), ("library", self.library, "libqcow2blk.so.dbg")):
            # Says which compiler made it, in a section that nobody reads.
            subprocess.run([self.tool("objcopy"), "--remove-section", ".comment", file], check=True)
            self._take_debug_symbols(name, file, self.built / "publish" / dbg)
        for path in sorted((self.root / "usr/share/man").rglob("*")):
            _compress_manual_page(path)
        self.doc.mkdir()
        (self.doc / "changelog.gz").write_bytes(gzip.compress(Path("CHANGELOG.md").read_bytes(), 9, mtime=0))
        (self.doc / "THIRD-PARTY-NOTICES.gz").write_bytes(gzip.compress(_notices(self.rid), 9, mtime=0))

    def _install(self):
        # Debian's zsh has a folder of its own for what packages bring.
        zsh = [f"zshdir={self.root.absolute()}/usr/share/zsh/vendor-completions"] if self.format == "deb" else []
        done = subprocess.run(
            ["make", "--no-print-directory", "install", f"DESTDIR={self.root.absolute()}", "PREFIX=/usr", f"LIBDIR={self.libdir}",
             f"RID={self.rid}", f"VERSION={self.version}", *zsh], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"package: \"make install\" failed:\n{done.stdout}{done.stderr}")

    def _take_debug_symbols(self, name, file, dbg):
        identity = self.build_id(file)
        if not dbg.exists() or self.build_id(dbg) != identity:
            raise SystemExit(f"package: {dbg} has not the debug symbols of {file.name} (build id {identity}); "
                             f"run \"make clean\" and build again")
        path = self.debug / name / f".build-id/{identity[:2]}/{identity[2:]}.debug"
        path.parent.mkdir(parents=True)
        shutil.copyfile(dbg, path)
        path.chmod(0o644)

    def build_id(self, file):
        notes = subprocess.run([self.tool("readelf"), "-n", file], capture_output=True, text=True).stdout
        return re.search("Build ID: ([0-9a-f]+)", notes)[1]

    def installed(self):
        """The files and empty folders that "make install" made, as they are in a package."""
        return sorted(f"/{path.relative_to(self.root)}" for path in self.root.rglob("*")
                      if path.is_symlink() or not path.is_dir() or not any(path.iterdir()))


def _compress_manual_page(path):
    if path.is_dir() or path.suffix == ".gz":
        return
    compressed = path.with_name(path.name + ".gz")
    if path.is_symlink():
        compressed.symlink_to(os.readlink(path) + ".gz")
    else:
        compressed.write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
        compressed.chmod(0o644)
    path.unlink()


def _notices(rid):
    """The notices of the .NET runtime, of the version that is linked in."""
    answer = subprocess.run(
        ["dotnet", "msbuild", "cli", f"-p:RuntimeIdentifier={rid}", "-getProperty:BundledNETCoreAppPackageVersion",
         "-getProperty:NuGetPackageRoot"], capture_output=True, text=True, check=True).stdout
    properties = json.loads(answer)["Properties"]
    # Known to the project once it was built here.
    cache = properties["NuGetPackageRoot"] or os.environ.get("NUGET_PACKAGES") or Path.home() / ".nuget/packages"
    folder = Path(cache, f"microsoft.netcore.app.runtime.nativeaot.{rid}",
                  properties["BundledNETCoreAppPackageVersion"])
    return (folder / "THIRD-PARTY-NOTICES.TXT").read_bytes()
