"""Programs that are run to their end, and what must not happen."""

import subprocess
import time

# Those that run now: whoever interrupts a run ends them.
RUNNING = set()


class Failed(Exception):
    """Something that must not happen."""


def run(*command, **options):
    """Runs a program to its end, and returns what it printed."""
    words = [str(part) for part in command]
    try:
        started = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    except OSError as error:
        raise Failed(f"{words[0]}: {error.strerror}") from error
    with started as process:
        RUNNING.add(process)
        try:
            output, errors = process.communicate()
        finally:
            RUNNING.discard(process)
    if process.returncode != 0:
        raise Failed(f"{' '.join(words)}: status {process.returncode}\n{output}{errors}")
    return output


def wait_for(condition, what, seconds=60):
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"gave up waiting for {what}")
        time.sleep(0.02)
