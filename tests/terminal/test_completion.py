#!/usr/bin/python3
"""What Tab offers: verbs, options, words of options, running devices, image files; in the shells themselves."""

import os
import shutil
import subprocess
import unittest

from devices import BINARY, DeviceCase


class Completion(DeviceCase):
    def setUp(self):
        super().setUp()
        for name in ("disk.qcow2", "old.img", "notes.txt", "disks/more.qcow2"):
            path = self.folder / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (self.folder / "bin").mkdir()
        (self.folder / "bin/qcow2blk").symlink_to(BINARY)

    def shell(self, *command):
        environment = {**os.environ, **self.environment, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(self.folder),
                       "TERM": "dumb"}
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder / "files", env=environment, timeout=60).stdout

    def bash(self, line):
        """The words that the function of the script puts into COMPREPLY, as bash calls it."""
        words = line.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        script = f"""source <(qcow2blk completion bash)
            COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}
            _qcow2blk; printf '%s\\n' "${{COMPREPLY[@]}}" """
        return self.shell("bash", "--norc", "-c", script).split()

    def test_bash_offers_verbs_and_options(self):
        self.assertEqual(["suspend"], self.bash("qcow2blk sus"))
        self.assertIn("--read-only", self.bash("qcow2blk attach --re"))
        self.assertEqual(["doctor"], self.bash("qcow2blk do"))

    def test_bash_offers_words_of_an_option(self):
        self.assertEqual(["qcow2", "raw"], self.bash("qcow2blk attach --format "))

    def test_bash_offers_running_devices(self):
        self.attach("running")
        for verb in ("detach", "status", "top", "metrics"):
            self.assertIn("running", self.bash(f"qcow2blk {verb} "), verb)
            self.assertNotIn("--help", self.bash(f"qcow2blk {verb} "), verb)
        self.assertEqual(["running"], self.bash("qcow2blk suspend run"))

    def test_bash_offers_images_and_directories(self):
        for line in ("qcow2blk attach ", "qcow2blk info ", "qcow2blk attach --read-only "):
            self.assertEqual(["disk.qcow2", "disks", "old.img"], sorted(self.bash(line)), line)
        self.assertEqual(["disks/more.qcow2"], self.bash("qcow2blk attach disks/"))
        self.assertIn("notes.txt", self.bash("qcow2blk attach disk.qcow2 --pid-file "))
        self.assertEqual(["disks"], self.bash("qcow2blk attach disk.qcow2 --backing-dir "))

    @unittest.skipUnless(shutil.which("fish"), "no fish")
    def test_fish_offers_verbs_words_and_devices(self):
        self.attach("running")
        fish = lambda line: self.shell("fish", "--no-config", "-c", f"qcow2blk completion fish | source; complete -C '{line}'").split()
        self.assertEqual(["suspend"], fish("qcow2blk sus"))
        self.assertIn("raw", fish("qcow2blk attach --format "))
        self.assertIn("running", fish("qcow2blk detach "))

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh_script_loads(self):
        script = "autoload -Uz compinit; compinit -u -D; source <(qcow2blk completion zsh); print $_comps[qcow2blk]"
        self.assertEqual("_qcow2blk", self.shell("zsh", "-f", "-c", script).strip())


if __name__ == "__main__":
    unittest.main()
