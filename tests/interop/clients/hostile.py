"""Clients that misbehave, each followed by one that does not: the server must answer that one."""
import os
import struct

import wire
from cases import expect, run
from wire import Wire

MIB = 1 << 20


def still_serves(path):
    client = Wire(path)
    client.go()
    client.request(wire.READ, 1, 0, 4096)
    expect("reply to the next client", client.simple_reply(), (0, 1))
    client.take(4096)
    client.request(wire.DISC, 2, 0, 0)


def client_that_leaves_in_the_middle_of_a_write(path):
    for sent in (0, 1, 4096, 300000, MIB - 1):
        client = Wire(path)
        client.go()
        client.request(wire.WRITE, 1, MIB, MIB, payload=b"\xee" * sent)
        client.socket.close()
        still_serves(path)
    reader = Wire(path)
    reader.go()
    reader.request(wire.READ, 1, MIB, MIB)
    reader.simple_reply()
    expect("bytes of writes that were never complete", reader.take(MIB).strip(b"\0"), b"")


def half_a_request(path):
    for count in (1, 4, 13, 27):
        client = Wire(path)
        client.go()
        client.send(struct.pack(">IHHQQI", wire.REQUEST, 0, wire.READ, 1, 0, 4096)[:count])
        client.socket.close()
        still_serves(path)


def half_an_option(path):
    for count in (0, 1, 3, 4, 11, 19, 21):
        client = Wire(path)
        client.send((struct.pack(">I", 3) + struct.pack(">QII", wire.IHAVEOPT, wire.OPT_GO, 6) + bytes(6))[:count])
        client.socket.close()
        still_serves(path)


def garbage_instead_of_a_handshake(path):
    client = Wire(path)
    try:
        client.send(os.urandom(1 * MIB))
    except (BrokenPipeError, ConnectionResetError):
        pass
    expect("closed", client.is_closed(), True)
    still_serves(path)


def garbage_instead_of_a_request(path):
    client = Wire(path)
    client.go()
    try:
        client.send(b"\x01" + os.urandom(MIB))
    except (BrokenPipeError, ConnectionResetError):
        pass
    expect("closed", client.is_closed(), True)
    still_serves(path)


def absurd_option_length(path):
    client = Wire(path)
    client.greet()
    client.send(struct.pack(">QII", wire.IHAVEOPT, wire.OPT_GO, 0xFFFFFFFF))
    expect("closed", client.is_closed(), True)
    still_serves(path)


def endless_options(path):
    client = Wire(path)
    client.greet()
    try:
        for _ in range(100000):
            client.option(0x1234)
    except (BrokenPipeError, ConnectionResetError):
        pass
    expect("closed", client.is_closed(), True)
    still_serves(path)


def absurd_write_length(path):
    client = Wire(path)
    client.go()
    client.request(wire.WRITE, 1, 0, 0xFFFFFFFF)
    expect("closed", client.is_closed(), True)
    still_serves(path)


def reader_that_never_reads(path):
    """Asks for 8 GiB and takes nothing of it; prints "asked" and waits for a line on stdin."""
    client = Wire(path)
    client.go()
    for cookie in range(256):
        client.request(wire.READ, cookie, 0, 32 * MIB)
    still_serves(path)
    print("asked", flush=True)
    input()
    client.socket.close()
    still_serves(path)


def writers_that_never_finish(path):
    """Sixty connections with a begun write of 32 MiB each; prints "begun" and waits for a line on stdin."""
    clients = []
    for _ in range(60):
        client = Wire(path)
        client.go()
        client.request(wire.WRITE, 1, 0, 32 * MIB, payload=bytes(1000))
        clients.append(client)
    still_serves(path)
    print("begun", flush=True)
    input()
    for client in clients:
        client.socket.close()
    still_serves(path)


def more_connections_than_there_may_be(path):
    """The first 250 stay; what is refused is closed, and when they have gone others get in again."""
    clients = [Wire(path) for _ in range(250)]
    for client in clients:
        client.go()
    crowd = [Wire(path) for _ in range(100)]
    closed = 0
    for client in crowd:
        try:
            client.greet()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            closed += 1
    if closed < 90:
        raise SystemExit(f"only {closed} of 100 were refused")
    for client in clients + crowd:
        client.socket.close()
    for _ in range(1000):
        try:
            still_serves(path)
            return
        except (EOFError, ConnectionResetError, BrokenPipeError):
            continue
    raise SystemExit("nobody gets in any more")


run([
    client_that_leaves_in_the_middle_of_a_write, half_a_request, half_an_option, garbage_instead_of_a_handshake,
    garbage_instead_of_a_request, absurd_option_length, endless_options, absurd_write_length, reader_that_never_reads,
    writers_that_never_finish, more_connections_than_there_may_be,
])
