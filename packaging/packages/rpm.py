"""Builds an rpm by rpmbuild. The spec file is written from the description: it only lists what was built already."""

import shutil
import subprocess

import changelog

ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
SCRIPTS = {"preinstall": "%pre", "postinstall": "%post", "preremove": "%preun", "postremove": "%postun"}
# The bytes depend on nothing but the description: neither on the clock nor on the machine's name or number of processors. Nothing
# is stripped or compressed anew, that was done before.
MACROS = {
    "_buildhost": "localhost", "use_source_date_epoch_as_buildtime": "1", "clamp_mtime_to_source_date_epoch": "1",
    "source_date_epoch_from_changelog": "0", "debug_package": "%{nil}", "_build_id_links": "none", "__os_install_post": "%{nil}",
    "_enable_debug_packages": "0", "_smp_mflags": "-j1", "_docdir_fmt": "%%{NAME}",
}
PAYLOADS = {"zstd": "w19.zstdio", "gzip": "w9.gzdio"}


def file_name(package):
    return f"{package.name}-{package.full_version}.{ARCHITECTURES[package.arch]}.rpm"


def build(package, releases, work, result):
    """Builds the rpm of a package."""
    top = work.absolute() / f"{package.name}-rpm"
    shutil.rmtree(top, ignore_errors=True)
    tree = top / "tree"
    tree.mkdir(parents=True)
    for entry in package.entries:
        _place(entry, tree)
    spec = top / f"{package.name}.spec"
    spec.write_text(_spec(package, releases))
    macros = {**MACROS, "_topdir": top, "buildroot": tree, "_binary_payload": PAYLOADS[package.special["compression"]],
              "_rpmdir": top / "out", "_tmppath": top, "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"}
    command = ["rpmbuild", "-bb", "--quiet", "--target", f"{ARCHITECTURES[package.arch]}-linux", "--buildroot", str(tree)]
    for name, value in macros.items():
        command += ["--define", f"{name} {value}"]
    done = subprocess.run([*command, spec], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"rpmbuild of {package.name} failed:\n{done.stdout}{done.stderr}")
    shutil.copyfile(top / "out" / file_name(package), result)
    shutil.rmtree(top)


def _place(entry, tree):
    path = tree / entry.path.lstrip("/")
    if entry.kind == "dir":
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == "symlink":
        path.symlink_to(entry.source)
    else:
        shutil.copyfile(entry.source, path)
        # rpm looks for what it needs only in a file that may be executed.
        path.chmod(entry.mode)


def _spec(package, releases):
    lines = [f"Name: {package.name}", f"Version: {package.version}", f"Release: {package.release}",
             f"Summary: {package.special['summary']}", f"License: {package.license}", f"Packager: {package.maintainer}"]
    if "group" in package.special:
        lines.append(f"Group: {package.special['group']}")
    for key, tag in (("depends", "Requires"), ("recommends", "Recommends"), ("suggests", "Suggests"), ("provides", "Provides")):
        lines += [f"{tag}: {text}" for text in getattr(package, key)]
    # The first line of the description is the summary.
    lines += ["", "%description", *(package.description.splitlines()[1:] or [package.summary]), ""]
    for key, script in package.scripts.items():
        with open(script) as file:
            body = file.read().partition("\n")[2]
        lines += [SCRIPTS[key], body.replace("%", "%%")]
    lines += ["%files", "%defattr(-,root,root,-)", *map(_file_line, package.entries), ""]
    if "changelog" in package.document:
        lines += ["%changelog", changelog.for_rpm(releases, package.release, package.maintainer)]
    return "\n".join(lines) + "\n"


def _file_line(entry):
    if entry.kind == "dir":
        return f'%dir %attr({entry.mode:o},root,root) "{entry.path}"'
    if entry.kind == "symlink":
        return f'"{entry.path}"'
    directive = {"config|noreplace": "%config(noreplace) ", "license": "%license "}.get(entry.type, "")
    return f'{directive}%attr({entry.mode:o},root,root) "{entry.path}"'
