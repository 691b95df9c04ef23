"""Writes that no flush covers, until the server is killed with requests in progress; then what may be left of them.

killed_writes.py load URI MODEL STATES SEED PID   kills the process PID; STATES gets what each sector may hold
killed_writes.py verify RAW MODEL STATES          RAW is one of these; MODEL becomes RAW
"""
import os
import pickle
import random
import signal
import sys

import nbd

SECTOR = 512
PARALLEL = 8


class Load:
    def __init__(self, uri, model, rng):
        self.client = nbd.NBD()
        self.client.connect_uri(uri)
        self.size = self.client.get_size()
        with open(model, "rb") as file:
            self.content = bytearray(file.read())
        self.rng = rng

        # Of each sector that is written: everything that it was, from the last flush on.
        self.states = {}

    def batch(self):
        return [self.submit(span) for span in self.spans()]

    def spans(self):
        taken = []
        while len(taken) < PARALLEL:
            length = self.rng.choice([self.rng.randint(1, 4096), 4096, 65536, self.rng.randint(1, 200_000)])
            offset = self.rng.randint(0, self.size - length)

            # Whole sectors are disjoint: requests that are in progress together may be carried out in any order.
            start, end = offset // SECTOR, (offset + length - 1) // SECTOR
            if all(end < other or last < start for other, last, _, _ in taken):
                taken.append((start, end, offset, length))
        return taken

    def submit(self, span):
        start, end, offset, length = span
        zero = self.rng.random() < 0.2
        data = bytes(length) if zero else self.rng.randbytes(length)
        for sector in range(start, end + 1):
            self.states.setdefault(sector, [self.sector(sector)])
        self.content[offset:offset + length] = data
        for sector in range(start, end + 1):
            self.states[sector].append(self.sector(sector))
        if zero:
            return self.client.aio_zero(length, offset)
        return self.client.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), offset)

    def sector(self, number):
        return bytes(self.content[number * SECTOR:(number + 1) * SECTOR])

    def wait(self, cookies):
        for cookie in cookies:
            while not self.client.aio_command_completed(cookie):
                self.client.poll(-1)


def load(uri, model, states, seed, pid):
    run = Load(uri, model, random.Random(int(seed)))
    for _ in range(run.rng.randint(1, 12)):
        run.wait(run.batch())
    try:
        cookies = run.batch()
        for _ in range(run.rng.randint(0, 3)):
            run.client.poll(0)
        os.kill(int(pid), signal.SIGKILL)
        run.wait(cookies)
    except nbd.Error:
        pass
    with open(states, "wb") as file:
        pickle.dump(run.states, file)


def verify(raw, model, states):
    with open(states, "rb") as file:
        allowed = pickle.load(file)
    with open(raw, "rb") as file:
        now = file.read()
    with open(model, "rb") as file:
        before = file.read()
    for sector in range((len(now) + SECTOR - 1) // SECTOR):
        found = now[sector * SECTOR:(sector + 1) * SECTOR]
        if found not in allowed.get(sector, [before[sector * SECTOR:(sector + 1) * SECTOR]]):
            sys.exit(f"sector {sector} holds what was never written there")
    with open(model, "wb") as file:
        file.write(now)


{"load": load, "verify": verify}[sys.argv[1]](*sys.argv[2:])
