"""A client of extended headers: lengths of 64 bits. By hand, because libnbd speaks them only from 1.18 on."""
import struct

import wire
from cases import expect, run
from wire import Wire

GIB = 1 << 30


def connect(path, context=None):
    client = Wire(path)
    client.greet()
    expect("extended headers", client.option_replies(wire.OPT_EXTENDED_HEADERS)[-1][0], wire.REP_ACK)
    if context:
        query = struct.pack(">III", 0, 1, len(context)) + context
        replies = client.option_replies(wire.OPT_SET_META_CONTEXT, query)
        expect("context", [kind for kind, _ in replies], [wire.REP_META_CONTEXT, wire.REP_ACK])
    expect("go", client.option_replies(wire.OPT_GO, struct.pack(">IH", 0, 0))[-1][0], wire.REP_ACK)
    return client


def reads_what_was_written(path):
    client = connect(path)
    client.extended_request(wire.WRITE, 7, 5 * GIB, 70000, wire.FLAG_PAYLOAD_LEN, b"w" * 70000)
    expect("write", client.extended_chunks(7), [(0, b"")])
    client.extended_request(wire.READ, 8, 5 * GIB - 10, 70010)
    data = bytearray(70010)
    for kind, payload in client.extended_chunks(8):
        at = struct.unpack(">Q", payload[:8])[0] - (5 * GIB - 10)
        if kind == wire.TYPE_DATA:
            data[at:at + len(payload) - 8] = payload[8:]
        else:
            expect("chunk", kind, wire.TYPE_HOLE)
    expect("read", bytes(data), bytes(10) + b"w" * 70000)
    client.extended_request(wire.DISC, 9, 0, 0)


def zeroes_and_trims_nine_gib_at_once(path):
    client = connect(path)
    client.extended_request(wire.WRITE_ZEROES, 1, GIB, 9 * GIB)
    expect("zeroes", client.extended_chunks(1), [(0, b"")])
    client.extended_request(wire.TRIM, 2, GIB, 9 * GIB)
    expect("trim", client.extended_chunks(2), [(0, b"")])
    client.extended_request(wire.CACHE, 3, 0, 6 * GIB)
    expect("cache", client.extended_chunks(3), [(0, b"")])
    client.extended_request(wire.FLUSH, 4, 0, 0)
    expect("flush", client.extended_chunks(4), [(0, b"")])


def block_status_of_the_whole_disk_is_one_extent(path):
    client = connect(path, b"base:allocation")
    client.extended_request(wire.BLOCK_STATUS, 3, 0, 12 * GIB)
    chunks = client.extended_chunks(3)
    expect("chunk", [kind for kind, _ in chunks], [wire.TYPE_STATUS_EXT])
    payload = chunks[0][1]
    extents = [struct.unpack(">QQ", payload[at:at + 16]) for at in range(8, len(payload), 16)]
    expect("extents", (struct.unpack(">I", payload[4:8])[0], extents), (1, [(12 * GIB, 3)]))


def write_without_the_payload_flag_is_the_end(path):
    client = connect(path)
    client.extended_request(wire.WRITE, 1, 0, 512, 0, bytes(512))
    expect("closed", client.is_closed(), True)
    reads_what_was_written(path)


def edges_of_the_largest_disk_are_kept(path):
    """A raw disk of 2^63 - 2^30 bytes: offsets and lengths up to 2^64 - 1 are judged, none wraps."""
    size = (1 << 63) - (1 << 30)
    client, cookie = connect(path, b"base:allocation"), 0
    invalid, no_space = 22, 28

    def error_of(command, offset, length, flags=0, payload=b""):
        nonlocal cookie
        cookie += 1
        client.extended_request(command, cookie, offset, length, flags, payload)
        kind, data = client.extended_chunks(cookie)[-1]
        return struct.unpack(">I", data[:4])[0] if kind >= 1 << 15 else 0

    for offset in (size - 511, size, (1 << 63) - 512, (1 << 63) - 1, 1 << 63, (1 << 64) - 512, (1 << 64) - 1):
        for command, expected in ((wire.READ, invalid), (wire.TRIM, invalid), (wire.CACHE, invalid),
                                  (wire.BLOCK_STATUS, invalid), (wire.WRITE_ZEROES, no_space)):
            expect(f"command {command} at {offset}", error_of(command, offset, 512), expected)
        expect(f"write at {offset}", error_of(wire.WRITE, offset, 512, wire.FLAG_PAYLOAD_LEN, bytes(512)), no_space)
    for offset, length in ((0, size + 1), (1, size), (512, (1 << 63) - 1), (512, (1 << 64) - 1), (size - 1, (1 << 64) - 1), (0, 1 << 63)):
        for command, expected in ((wire.TRIM, invalid), (wire.BLOCK_STATUS, invalid), (wire.WRITE_ZEROES, no_space)):
            expect(f"command {command} of {length} at {offset}", error_of(command, offset, length), expected)
    expect("last sector",
           [error_of(wire.WRITE, size - 512, 512, wire.FLAG_PAYLOAD_LEN, b"e" * 512), error_of(wire.READ, size - 512, 512)], [0, 0])
    # A trim is done in pieces: where there is nothing to free they grow.
    expect("all of it", [error_of(command, 0, size) for command in (wire.BLOCK_STATUS, wire.CACHE, wire.TRIM)], [0, 0, 0])


run([
    edges_of_the_largest_disk_are_kept,
    reads_what_was_written, zeroes_and_trims_nine_gib_at_once, block_status_of_the_whole_disk_is_one_extent,
    write_without_the_payload_flag_is_the_end,
])
