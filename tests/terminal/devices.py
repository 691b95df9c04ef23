"""Devices for the tests of what people see: images served over NBD in a runtime directory of their own."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from terminal import Terminal

BINARY = os.environ.get("QCOW2BLK_BINARY") or str(Path(__file__).resolve().parents[2] / "artifacts/qcow2blk")


class DeviceCase(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="q2b-terminal-"))
        self.environment = {"QCOW2BLK_RUNTIME_DIR": str(self.folder / "run"), "QCOW2BLK_CACHE_DIR": str(self.folder / "cache")}
        self.addCleanup(shutil.rmtree, self.folder, True)

    def image(self, name="disk", size="64M", *options):
        path = self.folder / f"{name}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size], check=True)
        return path

    def run_command(self, *arguments, check=True):
        # Errors go to a file: a server that is left behind may hold the other end of a pipe.
        with tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run([BINARY, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True,
                                  env={**os.environ, **self.environment})
            errors.seek(0)
            done.stderr = errors.read()
        if check:
            self.assertEqual(0, done.returncode, done.stderr)
        return done

    def attach(self, name="disk", *options):
        path = self.folder / f"{name}.qcow2"
        if not path.exists():
            self.image(name)
        socket = self.folder / f"{name}.nbd"
        answer = self.run_command("attach", str(path), "--socket", str(socket), "--name", name, "--json", *options)
        self.addCleanup(self.run_command, "detach", "--force", name, check=False)
        return json.loads(answer.stdout)

    def transfer(self, name, *commands):
        """Reads and writes as qemu-io does."""
        words = [word for command in commands for word in ("-c", command)]
        subprocess.run(["qemu-io", "-f", "raw", *words, f"nbd+unix:///?socket={self.folder / name}.nbd"], check=True,
                       stdout=subprocess.DEVNULL)

    def terminal(self, *arguments, **settings):
        terminal = Terminal(BINARY, *arguments, environment={**self.environment, **settings.pop("environment", {})}, **settings)
        self.addCleanup(terminal.close)
        return terminal
