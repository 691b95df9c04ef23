"""What the linked files need and offer, found by the tools of each format."""

import os
import re
import subprocess
from pathlib import Path

import staging

RPM_ELFDEPS = "/usr/lib/rpm/elfdeps"


def variables(stage, work):
    """The variables of nfpm.yaml about the linked files."""
    find = _for_debian if stage.format == "deb" else _for_rpm
    found = {"COMMAND_NEEDS": find(stage, stage.command, work), "LIBRARY_NEEDS": find(stage, stage.library, work),
             "COMMAND_BUILD_ID": stage.build_id(stage.command), "LIBRARY_BUILD_ID": stage.build_id(stage.library)}
    if stage.format == "rpm":
        plain, versioned = _elfdeps("--provides", stage.library)
        found |= {"LIBRARY_PROVIDES": plain, "LIBRARY_PROVIDES_VERSION": versioned}
    else:
        found |= {"LIBRARY_PROVIDES": "", "LIBRARY_PROVIDES_VERSION": ""}
    return found


def _for_debian(stage, file, work):
    folder = work / "shlibdeps"
    (folder / "debian").mkdir(parents=True, exist_ok=True)
    (folder / "debian/control").write_text("Source: qcow2blk\n\nPackage: qcow2blk\nArchitecture: any\n")
    command = ["dpkg-shlibdeps", "-O", *_foreign_libraries(stage), file.absolute()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "DEB_HOST_ARCH": stage.arch})
    if done.returncode != 0:
        raise SystemExit(f"package: dpkg-shlibdeps failed:\n{done.stderr}")
    return done.stdout.strip().removeprefix("shlibs:Depends=")


def _foreign_libraries(stage):
    """The C library of another architecture, with its symbols file: this machine's dpkg knows only its own."""
    if stage.is_native():
        return []
    tree = Path(f"artifacts/{stage.arch}/libc").absolute()
    if not (tree / "DEBIAN/symbols").exists():
        subprocess.run(["packaging/download-debs.sh", stage.arch, "-", tree, "libc6"], check=True)
        (tree / "DEBIAN").symlink_to("control/libc6")
    return [f"-S{tree}", f"-l{tree}/lib/{staging.TRIPLETS[stage.arch]}"]


def _for_rpm(stage, file, work):
    """The newest version of the C library that is asked for. rpmbuild adds all others, which it includes."""
    needed = [line for line in _elfdeps("--requires", file) if line.startswith("libc.so.6(GLIBC_")]
    return max(needed, key=lambda line: [int(part) for part in re.search(r"GLIBC_([\d.]+)", line)[1].split(".")])


def _elfdeps(option, file):
    answer = subprocess.run([RPM_ELFDEPS, option], input=f"{file}\n", capture_output=True, text=True, check=True).stdout
    return sorted(line for line in answer.splitlines() if line)


def library_control(stage, version, release, work):
    """The files shlibs and symbols of the library's deb, from abi/symbols.map, held against what the library exports."""
    symbols = _symbols(Path("abi/symbols.map").read_text())
    tree = work / "gensymbols"
    (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
    (tree / "symbols").write_text(symbols)
    done = subprocess.run(["dpkg-gensymbols", "-plibqcow2blk0", f"-v{version}-{release}", f"-I{tree}/symbols", f"-P{tree}", "-c4",
                           f"-O{tree}/result", f"-a{stage.arch}", f"-e{stage.library}"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"package: the library does not export what abi/symbols.map says:\n{done.stdout}{done.stderr}")
    return {"symbols": symbols, "shlibs": f"libqcow2blk 0 libqcow2blk0 (>= {version})\n"}


def _symbols(versions):
    lines = ["libqcow2blk.so.0 libqcow2blk0 #MINVER#", "* Build-Depends-Package: libqcow2blk-dev"]
    for node, body in re.findall(r"(QCOW2BLK_[\d.]+) *\{(.*?)\}", versions, re.DOTALL):
        since = node.removeprefix("QCOW2BLK_")
        names = [node, *re.findall(r"^ +(qcow2blk_\w+);", body, re.MULTILINE)]
        lines += [f" {name}@{node} {since}" for name in sorted(names)]
    return "\n".join(lines) + "\n"
