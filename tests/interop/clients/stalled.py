"""Clients that stop in the middle, or do things at the worst moment, and go on (or not): each is a bug that was found once."""
import random
import socket
import sys
import threading
import time

from cases import expect, run
from wire import OPT_EXTENDED_HEADERS, READ, TRIM, WRITE, Wire

MIB = 1 << 20


def connect(path):
    client = Wire(path)
    client.go()
    return client


def wait_for_word(word):
    expect("word", sys.stdin.readline().strip(), word)


def write(client, cookie, offset, payload):
    client.request(WRITE, cookie, offset, len(payload), payload=payload)
    expect("write", client.simple_reply(), (0, cookie))


def read(client, cookie, offset, length):
    client.request(READ, cookie, offset, length)
    expect("read", client.simple_reply(), (0, cookie))
    return client.take(length)


def payload_after_the_memory_was_full(path):
    """A large read fills the memory that a connection may have; the header of a write waits behind it, its payload comes later."""
    client = connect(path)
    client.request(READ, 1, 0, 16 * MIB)
    time.sleep(0.3)
    client.request(WRITE, 2, MIB, 65536)
    time.sleep(0.3)
    expect("read", client.simple_reply(), (0, 1))
    client.take(16 * MIB)
    time.sleep(0.3)
    payload = random.randbytes(65536)
    client.send(payload)
    expect("write", client.simple_reply(), (0, 2))
    expect("read back is what was sent", read(connect(path), 3, MIB, 65536) == payload, True)


def payload_in_two_parts(path):
    """Half of a payload, a pause in which the server may be suspended, the rest."""
    client = connect(path)
    other = connect(path)
    payload = random.randbytes(MIB)
    client.request(WRITE, 1, 0, MIB, payload=payload[:100_000])
    print("stalled", flush=True)
    wait_for_word("go on")
    client.send(payload[100_000:])
    print("sent", flush=True)
    wait_for_word("resumed")
    expect("write", client.simple_reply(), (0, 1))
    expect("read back is what was sent", read(other, 2, 0, MIB) == payload, True)
    write(client, 3, MIB, payload)
    print("done", flush=True)


def payload_that_never_ends(path):
    client = connect(path)
    client.request(WRITE, 1, 0, MIB, payload=b"x" * 100)
    print("stalled", flush=True)
    wait_for_word("end")


def payloads_that_lack_a_byte(path, count):
    """Many clients, each with as large a write as there is but for its last byte: the server need not take all of it."""
    clients = [connect(path) for _ in range(int(count))]

    def stall(client):
        try:
            client.request(WRITE, 1, 0, 32 * MIB, payload=bytes(32 * MIB - 1))
        except OSError:
            pass  # It was sent away.

    for client in clients:
        threading.Thread(target=stall, args=[client], daemon=True).start()
    time.sleep(2)
    print("stalled", flush=True)
    wait_for_word("end")


def trim_of_an_exbibyte(path):
    client = Wire(path)
    client.go(OPT_EXTENDED_HEADERS)
    client.extended_request(TRIM, 1, 0, 1 << 60)
    print("trimming", flush=True)
    wait_for_word("resumed")
    expect("trim", client.extended_chunks(1), [(0, b"")])
    client.extended_request(TRIM, 2, 0, 1 << 60)
    print("again", flush=True)
    try:
        kind, payload = client.extended_chunks(2)[0]
    except (OSError, EOFError):
        return  # In the middle of an operation that detach did not wait for.
    if kind != 0:
        expect("error", int.from_bytes(payload[:4], "big"), 108)


def closes_with_unread_replies_in_the_middle_of_a_payload(path):
    def one():
        client = connect(path)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for cookie in range(4):
            client.request(READ, cookie, 0, MIB)
        client.request(WRITE, 9, 4 * MIB, 8 * MIB, payload=b"z" * random.randint(100_000, 900_000))
        time.sleep(random.random() * 0.003)
        client.socket.shutdown(socket.SHUT_RD)
        client.send(b"z" * 1000)
        time.sleep(0.01)
        client.socket.close()

    def many():
        for _ in range(150):
            try:
                one()
            except (OSError, EOFError):
                pass

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


run([payload_after_the_memory_was_full, payload_in_two_parts, payload_that_never_ends, payloads_that_lack_a_byte, trim_of_an_exbibyte,
     closes_with_unread_replies_in_the_middle_of_a_payload])
