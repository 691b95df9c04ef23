#!/usr/bin/python3
"""Builds the Debian and rpm packages that nfpm.yaml describes, into artifacts/packages.

nfpm builds them where it is installed, dpkg-deb and rpmbuild otherwise. The files come from "make install"; the same sources
give the same bytes, whatever the folder, the machine's name and the time (SOURCE_DATE_EPOCH: the last commit's time)."""

import argparse
import os
import shutil
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

import changelog
import deb
import description
import needs
import rpm
import staging

ROOT = Path(__file__).resolve().parent.parent.parent
BUILDERS = {"deb": deb, "rpm": rpm}
ARCHITECTURES = {"linux-x64": "amd64", "linux-arm64": "arm64"}
# The project has no mail address; a distribution puts its own here.
MAINTAINER = "qcow2blk authors <qcow2blk@packages.invalid>"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rid", default="linux-x64", choices=ARCHITECTURES, help="what the files in artifacts/ were built for")
    parser.add_argument("--format", action="append", choices=description.FORMATS, help="may repeat (default: both)")
    parser.add_argument("--version", help="another version than that of the sources: tests of upgrades")
    parser.add_argument("--release", default="1")
    parser.add_argument("--only", metavar="NAME", help="one package of those that are described")
    parser.add_argument("--without-debug", action="store_true", help="no packages of debug symbols, which take most of the time")
    parser.add_argument("--output", type=Path, default=Path("artifacts/packages"))
    options = parser.parse_args()
    os.chdir(ROOT)
    os.umask(0o022)
    os.environ.setdefault("SOURCE_DATE_EPOCH", last_commit())
    os.environ["TZ"] = "UTC"
    options.output.mkdir(parents=True, exist_ok=True)
    version = options.version or staging.source_version()
    releases = changelog.read("CHANGELOG.md", version, int(os.environ["SOURCE_DATE_EPOCH"]))
    maintainer = os.environ.get("MAINTAINER", MAINTAINER)
    changes = Path("artifacts/packages/changelog.yaml")
    changes.parent.mkdir(parents=True, exist_ok=True)
    changes.write_text(changelog.for_nfpm(releases, maintainer))
    for format_ in options.format or description.FORMATS:
        build(format_, options, version, maintainer, releases)


def last_commit():
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit("package: this is not a git checkout; set SOURCE_DATE_EPOCH to the time of the release (seconds since 1970)")
    return done.stdout.strip()


def build(format_, options, version, maintainer, releases):
    arch = ARCHITECTURES[options.rid]
    work = Path(f"artifacts/packages/work/{version}-{format_}-{arch}")
    shutil.rmtree(work, ignore_errors=True)
    stage = staging.Stage(work / "staging", format_, arch, options.rid, version)
    stage.fill()
    variables = {"ARCH": arch, "VERSION": version, "RELEASE": options.release, "MAINTAINER": maintainer,
                 "STAGING": str(stage.folder), "LIBDIR": stage.libdir, **needs.variables(stage, work)}
    try:
        packages = description.load("nfpm.yaml", format_, variables)
    except description.DescriptionError as error:
        raise SystemExit(f"package: {error}") from None
    complain(format_, stage, packages)
    if options.without_debug:
        packages = [package for package in packages if not package.name.endswith(("-dbgsym", "-debuginfo"))]
    packages = [package for package in packages if options.only in (None, package.name)]

    def build_one(package):
        path = options.output / BUILDERS[format_].file_name(package)
        extra = needs.library_control(stage, version, options.release, work) if package.name == "libqcow2blk0" else {}
        if shutil.which("nfpm"):
            build_by_nfpm(package, variables, path)
            if extra:
                deb.add_control(path, extra, work)
        elif format_ == "deb":
            deb.build(package, releases, extra, work, path)
        else:
            rpm.build(package, releases, work, path)
        print(f"built {path}: {path.stat().st_size} bytes", flush=True)

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(build_one, package) for package in packages]:
            done.result()
    shutil.rmtree(work)


def complain(format_, stage, packages):
    """Ends if an installed file is in no package, or in two."""
    packaged = Counter(entry.path for package in packages for entry in package.entries if entry.kind != "dir")
    known = {*packaged, *(entry.path for package in packages for entry in package.entries)}
    wrong = [f"{path} is installed and in no package: add it to nfpm.yaml" for path in stage.installed() if path not in known]
    wrong += [f"{path} is in {count} packages" for path, count in packaged.items() if count > 1]
    if wrong:
        raise SystemExit("\n".join(f"package: {format_}: {line}" for line in wrong))


def build_by_nfpm(package, variables, path):
    document = {key: value for key, value in package.document.items() if key not in description.FORMATS or key == package.format}
    subprocess.run(["nfpm", "package", "--config", "-", "--packager", package.format, "--target", path], check=True, text=True,
                   input=yaml.safe_dump(document, sort_keys=False), env={**os.environ, **variables}, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
