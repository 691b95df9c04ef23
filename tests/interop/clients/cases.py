"""Runs one case of a client program: PROGRAM CASE URI [ARGUMENT...]. A case that fails raises, or exits with a message."""
import sys


def run(cases):
    by_name = {case.__name__: case for case in cases}
    by_name[sys.argv[1]](*sys.argv[2:])


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got!r} instead of {wanted!r}")
