"""The images that are measured: made by qemu-img, on a memory file system so that no disk is part of the result."""
import os
import random
import subprocess

from cells import MIB

CHUNK = 4 * MIB
EMPTY_SIZE = 16 * 1024 * MIB
KEY = b"bench"
# Images as large as the one that is full, and what qemu-img makes them with. How long a key takes is no part of what is measured.
FEATURES = {
    "luks": "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10",
    "extended": "extended_l2=on,cluster_size=128k",
    "data-file": "data_file={path}.data",
}


def _run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command)} failed: {done.stdout.strip()}")


def _write_random(path, size):
    """Bytes that do not compress, the same in every run."""
    source = random.Random(1)
    with open(path, "wb") as file:
        for _ in range(size // CHUNK):
            file.write(source.randbytes(CHUNK))


def _words(source, size):
    """Text of invented words, common ones more often: deflate halves and halves it again, as it does prose."""
    vocabulary = ["".join(source.choices("etaoinshrdlucmfw", k=source.randint(2, 9))) for _ in range(4000)]
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    text = " ".join(source.choices(vocabulary, weights, k=size // 5))
    return text.encode()


def _write_half_compressible(path, size):
    """Half text, half random bytes, in turn every 2 KiB."""
    source = random.Random(2)
    text = _words(source, 8 * MIB)
    with open(path, "wb") as file:
        for _ in range(size // CHUNK):
            noise = source.randbytes(CHUNK // 2)
            parts = []
            for at in range(0, CHUNK // 2, 2048):
                begin = source.randrange(len(text) - 2048)
                parts += (text[begin:begin + 2048], noise[at:at + 2048])
            file.write(b"".join(parts))


class Images:
    """Makes each image once, when first asked for, and deletes them all at the end."""

    def __init__(self, folder, full_size, compressed_size, log):
        self._folder = folder
        self._full_size = full_size
        self._compressed_size = compressed_size
        self._log = log

    def path(self, kind):
        """The image of a kind: full (preallocated, written with random data), one of FEATURES, zlib, zstd, or empty (new every time)."""
        path = os.path.join(self._folder, f"{kind}.qcow2")
        if kind == "empty":
            if os.path.exists(path):
                os.unlink(path)
            _run("qemu-img", "create", "-q", "-f", "qcow2", path, str(EMPTY_SIZE))
        elif not os.path.exists(path):
            self._log(f"making the image {kind}.qcow2")
            self._make(kind, path)
        return path

    def size(self, kind):
        """The guest size of a kind of image, in bytes."""
        if kind == "full" or kind in FEATURES:
            return self._full_size
        return EMPTY_SIZE if kind == "empty" else self._compressed_size

    def key_file(self, kind):
        """The file with the key of an encrypted image; None for the others."""
        if kind != "luks":
            return None
        path = os.path.join(self._folder, "key")
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(KEY)
        return path

    def _make(self, kind, path):
        raw = os.path.join(self._folder, f"{kind}.raw")
        unfinished = path + ".new"
        if kind == "full":
            _write_random(raw, self._full_size)
            _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "preallocation=full", "-S", "0", raw, unfinished)
        elif kind in FEATURES:
            _write_random(raw, self._full_size)
            key = self.key_file(kind)
            secret = ("--object", f"secret,id=key,file={key}") if key else ()
            _run("qemu-img", "convert", *secret, "-f", "raw", "-O", "qcow2", "-o", FEATURES[kind].format(path=path), "-S", "0", raw,
                 unfinished)
        else:
            _write_half_compressible(raw, self._compressed_size)
            _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", f"compression_type={kind}", raw, unfinished)
        os.unlink(raw)
        os.rename(unfinished, path)
