"""What a guest boots from: a small initramfs, and a read-only root disk with the tools that the cases need.

The tools are those of the Debian packages installed on this machine, copied with their libraries. Both files are
built once per kernel and again only when a tool, a module list or a script that is part of them changed.
"""

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kernels

GUEST = Path(__file__).resolve().parent / "guest"

# Their programs (and what stands in EXTRA) go to the root disk.
PACKAGES = """bash coreutils util-linux util-linux-extra mount fdisk e2fsprogs xfsprogs kmod procps findutils grep sed mawk diffutils tar
    qemu-utils fio jq strace dmsetup udev nbd-client libnbd-bin python3.11-minimal python3-minimal python3 gzip hostname systemd
    apparmor cryptsetup-bin busybox-static fuse3 psmisc acl attr libcap2-bin gawk debianutils iproute2 passwd login nginx""".split()
# What dpkg calls while it installs a package.
PACKAGES += ["dpkg", "dash", "libc-bin"]
EXTRA = ["/usr/lib/udev", "/lib/udev", "/lib/systemd/systemd-udevd", "/lib/systemd/systemd",
         "/etc/mke2fs.conf", "/usr/lib/python3", "/usr/share/mime/version",
         # A base in a web server: what loads it, and what reads the device of it over NBD.
         "/usr/lib/x86_64-linux-gnu/libcurl.so.4",
         *[str(path) for pattern in ("nbd.py", "libnbdmod.*.so") for path in Path("/usr/lib/python3/dist-packages").glob(pattern)],
         # What AppArmor's profiles include.
         *[f"/etc/apparmor.d/{folder}" for folder in ("abi", "abstractions", "tunables")],
         # What a boot by systemd consists of (INIT=boot).
         *[f"/lib/systemd/{name}" for name in """systemd-journald systemd-shutdown systemd-fsck systemd-remount-fs
             system-generators/systemd-fstab-generator""".split()],
         *[f"/lib/systemd/system/{name}" for name in """sysinit.target basic.target multi-user.target sockets.target
             timers.target paths.target slices.target swap.target local-fs-pre.target local-fs.target remote-fs-pre.target
             remote-fs.target network.target umount.target shutdown.target final.target poweroff.target blockdev@.target
             modprobe@.service systemd-fsck@.service systemd-remount-fs.service systemd-poweroff.service systemd-udevd.service
             systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service systemd-journald.service
             systemd-journald.socket systemd-journald-dev-log.socket""".split()]]
# Programs that are taken if this machine has them: helpers of a developer, no case needs them.
OPTIONAL = ["/usr/bin/perf", "/usr/bin/gdb"]

BOOT_MODULES = ["virtio_pci", "virtio_blk", "virtio_console"]
ROOT_MODULES = """nbd ublk_drv xfs dm-mod dm-crypt dm-flakey dm-delay dm-snapshot loop overlay brd null_blk zram crc32c-intel
    crc32c-cryptoapi virtio_rng virtio_balloon xts aesni-intel algif_skcipher autofs4 veth bridge sch_netem""".split()
# Not in every kernel, or built in.
MAY_BE_MISSING = {"ublk_drv", "crc32c-intel", "crc32c-cryptoapi", "virtio_rng", "virtio_balloon", "xts", "aesni-intel", "algif_skcipher",
                  "autofs4"}


def prepare(kernel):
    """Returns (initramfs, root disk) of a kernel."""
    with kernels.alone():
        return _prepare(kernel)


def _prepare(kernel):
    initramfs, disk, stamp = kernel.folder / "initramfs.cpio", kernel.folder / "root.ext4", kernel.folder / "root.stamp"
    tools = _tools()
    inputs = _fingerprint(kernel, tools)
    if stamp.exists() and stamp.read_text() == inputs and disk.exists() and initramfs.exists():
        return initramfs, disk
    print(f"building the guest's root disk for linux {kernel.version}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=kernel.folder) as work:
        modules = _Modules(kernel)
        _build_initramfs(modules, Path(work) / "initramfs", initramfs)
        _build_root(kernel, modules, tools, Path(work) / "root", disk)
    stamp.write_text(inputs)
    return initramfs, disk


def _tools():
    """The programs that go to the root disk."""
    listed = subprocess.run(["dpkg-query", "-L", *PACKAGES], capture_output=True, text=True)
    programs = [Path(line) for line in listed.stdout.splitlines() if re.fullmatch(r"(/usr)?/s?bin/.+", line)]
    absent = re.findall(r"package '(\S+)' is not installed", listed.stderr)
    if set(absent) & {"qemu-utils", "fio", "xfsprogs", "busybox-static", "dmsetup", "jq", "udev", "systemd", "kmod", "strace"}:
        raise SystemExit(f"Debian packages are missing: {' '.join(absent)}; run packaging/install-build-deps.sh kernel")
    # Alternatives (awk) have no file in any package.
    programs += [Path(name) for name in ("/usr/bin/awk", *OPTIONAL) if Path(name).exists()]
    return sorted({program for program in programs if program.is_file()})


def _fingerprint(kernel, tools):
    digest = hashlib.sha256(f"{kernel.version} {BOOT_MODULES} {ROOT_MODULES} {EXTRA}\n".encode())
    for tool in tools:
        facts = tool.stat()
        digest.update(f"{tool} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    for script in (GUEST / "init", Path(__file__)):
        digest.update(script.read_bytes())
    return digest.hexdigest()


class _Modules:
    """The modules of a kernel, by name."""

    def __init__(self, kernel):
        self.tree = kernel.modules
        self.paths = {self._name(path): path for path in (kernel.modules / "kernel").rglob("*.ko*")}
        # Not in every package: without the list, what is no module counts as built in.
        built_in = kernel.modules / "modules.builtin"
        self.built_in = {self._name(Path(line)) for line in built_in.read_text().split()} if built_in.exists() else None

    @staticmethod
    def _name(path):
        return path.name.split(".ko")[0].replace("-", "_")

    def in_load_order(self, names):
        """The modules' files and those they need, each after what it needs."""
        order = []
        for name in names:
            self._visit(name, order)
        return order

    def _visit(self, name, order):
        path = self.paths.get(name.replace("-", "_"))
        if path is None:
            known = self.built_in is None or name.replace("-", "_") in self.built_in or name in MAY_BE_MISSING
            if not known:
                raise SystemExit(f"{self.tree} has no module {name}")
            return
        if path in order:
            return
        for needed in self._needs(path):
            self._visit(needed, order)
        order.append(path)

    def _needs(self, path):
        return [name for line in re.findall(rb"\0depends=([^\0]*)\0", b"\0" + self.content(path) + b"\0")
                for name in line.decode().split(",") if name]

    @staticmethod
    def content(path):
        return lzma.open(path).read() if path.suffix == ".xz" else path.read_bytes()


def _build_initramfs(modules, tree, result):
    for folder in ("bin", "proc", "dev", "sys", "root", "modules"):
        (tree / folder).mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    shutil.copy(GUEST / "init", tree / "init")
    (tree / "init").chmod(0o755)
    names = []
    for path in modules.in_load_order(BOOT_MODULES):
        names.append(path.name.split(".ko")[0] + ".ko")
        (tree / "modules" / names[-1]).write_bytes(modules.content(path))
    (tree / "modules/order").write_text("".join(name + "\n" for name in names))
    with open(result, "wb") as output:
        subprocess.run("find . | cpio -o -H newc --quiet", shell=True, check=True, cwd=tree, stdout=output)


def _build_root(kernel, modules, tools, tree, result):
    _lay_out(tree)
    for path in tools:
        _copy(path, tree)
    for path in map(Path, EXTRA):
        if path.is_dir():
            _copy_tree(path, tree)
        elif path.exists():
            _copy(path, tree)
    _copy_tree(next(Path("/usr/lib").glob("python3.*")), tree)
    programs = [path for path in (tree / "usr").rglob("*") if path.is_file() and not path.is_symlink() and _is_elf(path)]
    for library in _libraries(programs):
        _copy(library, tree)
    subprocess.run(["ldconfig", "-r", tree], check=True, stderr=subprocess.DEVNULL)
    _install_modules(kernel, modules, tree)
    size = sum(path.lstat().st_size + 4096 for path in tree.rglob("*")) * 5 // 4 + (16 << 20)
    result.unlink(missing_ok=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0",
                    "-d", tree, result, str(size // 1024) + "k"], check=True, stdout=subprocess.DEVNULL)


def _lay_out(tree):
    for folder in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "proc", "sys", "dev", "run", "tmp", "var", "root",
                   "mnt", "data", "home", "etc/qcow2blk"):
        (tree / folder).mkdir(parents=True)
    for folder in ("bin", "sbin", "lib", "lib64"):
        (tree / folder).symlink_to("usr/" + folder)
    users = "root:x:0:0:root:/root:/bin/bash\ntester:x:1000:1000::/tmp:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n"
    groups = "".join(f"{name}:x:{number}:\n" for name, number in (
        ("root", 0), ("disk", 6), ("tty", 5), ("kmem", 15), ("input", 101), ("sgx", 102), ("kvm", 103), ("render", 104),
        ("lp", 7), ("audio", 29), ("video", 44), ("cdrom", 24), ("tape", 26), ("dialout", 20), ("tester", 1000), ("nogroup", 65534)))
    for name, text in (("passwd", users), ("group", groups), ("hostname", "guest\n"), ("fstab", ""),
                       ("machine-id", "0123456789abcdef0123456789abcdef\n"),
                       ("nsswitch.conf", "passwd: files\ngroup: files\n"), ("ld.so.conf", "/usr/lib/x86_64-linux-gnu\n")):
        (tree / "etc" / name).write_text(text)
    (tree / "etc/mtab").symlink_to("/proc/self/mounts")
    # The command under its other names, where mount(8) looks for helpers, as "make install" makes them.
    for name in ("mount.qcow2", "umount.qcow2", "qcow2-dm"):
        (tree / "usr/sbin" / name).symlink_to("/run/payload/bin/qcow2blk")


def _place(path, tree):
    """Where a file of this machine goes: its folder may be reached through a link (/bin), in the tree it is real."""
    folder = os.path.realpath(path.parent)
    folder = re.sub(r"^/(bin|sbin|lib|lib64)(/|$)", r"/usr/\1\2", folder)
    return tree / folder.lstrip("/") / path.name


def _copy(path, tree):
    place = _place(path, tree)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)


def _copy_tree(path, tree):
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders
                      if name not in ("__pycache__", "test", "tests", "idlelib", "lib2to3", "ensurepip", "hwdb.d")
                      and not (name == "dist-packages" or name == "pydoc_data")]
        for name in files:
            source = Path(folder) / name
            if source.is_file() and name != "hwdb.bin":
                _copy(source, tree)


def _is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _libraries(programs):
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True).stdout
    return sorted({Path(match) for match in re.findall(r"^\s+(?:\S+ => )?(/\S+) \(0x", listed, re.MULTILINE)})


def _install_modules(kernel, modules, tree):
    target = tree / "usr/lib/modules" / kernel.version
    for path in modules.in_load_order(BOOT_MODULES + ROOT_MODULES):
        place = target / path.relative_to(kernel.modules)
        place = place.with_name(place.name.split(".ko")[0] + ".ko")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(modules.content(path))
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if (kernel.modules / name).exists():
            shutil.copy(kernel.modules / name, target / name)
    subprocess.run(["depmod", "-b", tree, kernel.version], check=True, stderr=subprocess.DEVNULL)
