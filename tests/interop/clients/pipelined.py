"""Many requests in flight on one connection, checked against an array."""
import random
import sys

import nbd

from cases import expect, run

MIB = 1 << 20
AREA = 16 * MIB
SECTOR = 512


def odd_requests(uri, half):
    """Writes, zeroes, trims and reads of any alignment in one half of the disk; a pause in the middle of it."""
    base = int(half) * AREA
    chance = random.Random(int(half))
    client = nbd.NBD()
    client.connect_uri(uri)
    model = bytearray(AREA)
    for round_number in range(8):
        if round_number == 4:
            print("half", flush=True)
            expect("word", sys.stdin.readline().strip(), "go on")
        pending = []
        # Ranges of one round do not overlap: what is done in which order is the server's business.
        for slot in range(300):
            start = slot * (AREA // 300) + chance.randrange(4096)
            length = chance.choice((1, 17, 511, 512, 513, 4095, 4096, 4097, chance.randrange(1, 48000)))
            length = min(length, (slot + 1) * (AREA // 300) - start)
            pending.append(begin(client, chance, model, base, start, length))
        for cookie, check in pending:
            while not client.aio_command_completed(cookie):
                client.poll(-1)
            check()
        if round_number % 3 == 0:
            client.flush()
    for start in range(0, AREA, 4 * MIB):
        expect(f"contents from {start}", client.pread(4 * MIB, base + start) == model[start:start + 4 * MIB], True)
    client.shutdown()


def begin(client, chance, model, base, start, length):
    kind = chance.randrange(6)
    if kind <= 2:
        model[start:start + length] = data = chance.randbytes(length)
        buffer = nbd.Buffer.from_bytearray(bytearray(data))
        return client.aio_pwrite(buffer, base + start), lambda: buffer
    if kind == 3:
        model[start:start + length] = bytes(length)
        return client.aio_zero(length, base + start), lambda: None
    expected = bytes(model[start:start + length])
    buffer = nbd.Buffer(length)
    return (client.aio_pread(buffer, base + start),
            lambda: expect(f"read of {length} at {start}", buffer.to_bytearray() == expected, True))


run([odd_requests])
