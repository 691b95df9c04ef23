"""A terminal without a window: a program runs on a pseudo-terminal, and pyte, an emulator, says what a person would see."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import pyte


class Terminal:
    """Runs a command; its screen is read by `text` and `line`, its raw bytes are in `bytes`."""

    def __init__(self, *command, columns=100, rows=20, environment=None, stderr_only=False):
        self.bytes = b""
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.fd, inner = pty.openpty()
        self._set_size(columns, rows)
        self.before = termios.tcgetattr(inner)
        self.inner = inner
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(inner, termios.TIOCSCTTY, 0)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null if stderr_only else inner, 0)
            os.dup2(null if stderr_only else inner, 1)
            os.dup2(inner, 2)
            for fd in (self.fd, inner, null):
                os.close(fd)
            os.environ.update({"TERM": "xterm-256color", "LANG": "C.UTF-8"})
            os.environ.pop("NO_COLOR", None)
            os.environ.update(environment or {})
            os.execvp(command[0], command)
        self.status = None

    def _set_size(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        self._set_size(columns, rows)
        self.screen.resize(rows, columns)
        os.kill(self.pid, signal.SIGWINCH)

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def read(self, seconds):
        """Takes what comes within a time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                return
            try:
                piece = os.read(self.fd, 65536)
            except OSError:  # The last program on it has ended.
                return
            if not piece:
                return
            self.bytes += piece
            self.stream.feed(piece)

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self):
        return "\n".join(self.lines)

    def wait_for(self, condition, what, seconds=20):
        """Until the screen is as wanted."""
        end = time.monotonic() + seconds
        while not condition(self):
            if time.monotonic() > end:
                raise AssertionError(f"never seen: {what}; the screen:\n{self.text}")
            self.read(0.1)
        return self

    def wait_for_text(self, text, seconds=20):
        return self.wait_for(lambda terminal: text in terminal.text, repr(text), seconds)

    def wait(self, seconds=20):
        """Until the program has ended; its exit status, or minus the signal that ended it."""
        end = time.monotonic() + seconds
        while self.status is None:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise AssertionError(f"it does not end; the screen:\n{self.text}")
        self.read(0.1)
        return self.status

    def is_restored(self):
        """Whether settings are as before, the cursor is seen, lines are wrapped and the first page is shown."""
        entered, left = self.bytes.rfind(b"\x1b[?1049h"), self.bytes.rfind(b"\x1b[?1049l")
        return termios.tcgetattr(self.inner) == self.before and left > entered and not self.screen.cursor.hidden \
            and pyte.modes.DECAWM in self.screen.mode

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.kill(self.pid, signal.SIGCONT)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
        os.close(self.inner)
