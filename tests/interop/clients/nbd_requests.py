"""Requests of a well-behaved client on libnbd: every command, every flag, every error."""
import errno
import random

import nbd

from cases import expect, run

MIB = 1 << 20


def connect(uri, structured=True, contexts=(), strict=True):
    client = nbd.NBD()
    client.set_handshake_flags(nbd.HANDSHAKE_FLAG_MASK)
    client.set_request_structured_replies(structured)
    for context in contexts:
        client.add_meta_context(context)
    if not strict:
        client.set_strict_mode(0)
    client.connect_uri(uri)
    return client


def error_of(function):
    try:
        function()
    except nbd.Error as error:
        return errno.errorcode[error.errnum]
    return None


def export_says_what_it_can(uri):
    client = connect(uri)
    for ability in ("can_cache", "can_df", "can_fast_zero", "can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero"):
        expect(ability, getattr(client, ability)(), True)
    expect("read-only", client.is_read_only(), False)
    expect("minimum block size", client.get_block_size(nbd.SIZE_MINIMUM), 1)
    expect("maximum block size", client.get_block_size(nbd.SIZE_MAXIMUM), 32 * MIB)
    client.shutdown()


def holes_travel_as_holes(uri):
    """The image has data in its first and third MiB only."""
    client = connect(uri)
    chunks = []
    client.pread_structured(4 * MIB, 0, lambda buffer, offset, status, error: chunks.append((offset, len(buffer), status)))
    holes = sum(length for _, length, status in chunks if status == nbd.READ_HOLE)
    data = sum(length for _, length, status in chunks if status == nbd.READ_DATA)
    expect("bytes of holes and of data", (holes, data), (2 * MIB, 2 * MIB))
    whole = []
    client.pread_structured(4 * MIB, 0, lambda buffer, offset, status, error: whole.append(status), nbd.CMD_FLAG_DF)
    expect("chunks of a read that may not be split", whole, [nbd.READ_DATA])
    client.shutdown()


def holes_of_the_file_travel_as_holes(uri):
    """A preallocated image with data in its second MiB and 4 KiB of its fourth: all of it has clusters."""
    client, plain = connect(uri), connect(uri, structured=False)
    for length in (64 << 10, MIB, 4 * MIB):
        holes = 0
        for offset in range(0, 4 * MIB, length):
            chunks = []
            buffer = client.pread_structured(length, offset, lambda part, at, status, error: chunks.append((len(part), status)))
            holes += sum(part for part, status in chunks if status == nbd.READ_HOLE)
            expect("bytes", bytes(buffer), plain.pread(length, offset))
        expect(f"bytes of holes in reads of {length}", holes, 3 * MIB - 4096)
    plain.shutdown()
    client.shutdown()


def many_holes_are_told_in_several_replies(uri):
    """A disk of 16 MiB with data in every second of its 4096 clusters, all of which lie in the file: no reply asks it for all."""
    client = connect(uri, contexts=("base:allocation",))
    offset, replies, flags = 0, [], []
    while offset < client.get_size():
        entries = []
        client.block_status(client.get_size() - offset, offset, lambda context, at, found, error: entries.extend(found))
        offset += sum(entries[::2])
        replies.append(len(entries) // 2)
        flags += entries[1::2]
    expect("end", offset, client.get_size())
    expect("extents of all replies", (len(flags), set(flags[::2]), set(flags[1::2])), (4096, {0}, {nbd.STATE_ZERO}))
    expect("a reply takes at most 1024 questions", max(replies) <= 1024, True)
    client.shutdown()


def write_is_data_at_once(uri):
    """Whatever was asked before, and by whom: block status on one connection, writes on another, nothing flushed."""
    writer, asker = connect(uri), connect(uri, contexts=("base:allocation",))
    rng = random.Random(5)

    def zero_bytes(offset, length):
        entries = []
        asker.block_status(length, offset, lambda context, at, found, error: entries.extend(found))
        told, zeroes = 0, 0
        for extent, flags in zip(entries[::2], entries[1::2]):
            zeroes += min(extent, length - told) if flags & nbd.STATE_ZERO else 0
            told += extent
        return zeroes if told >= length else zeroes + zero_bytes(offset + told, length - told)

    for step in range(600):
        length = rng.choice((512, 4096, 65536, 200000))
        offset = rng.randrange(0, asker.get_size() - length) // 512 * 512
        zero_bytes(0, asker.get_size())
        writer.pwrite(b"d" * length, offset)
        expect(f"step {step}: zeroes in {length} bytes at {offset}", zero_bytes(offset, length), 0)
        if step % 3 == 0:
            writer.trim(length, offset)
    asker.shutdown()
    writer.shutdown()


def simple_replies_do_everything(uri):
    client = connect(uri, structured=False)
    expect("structured", client.get_structured_replies_negotiated(), False)
    client.pwrite(b"hello" * 1000, 12345, nbd.CMD_FLAG_FUA)
    expect("read", client.pread(5000, 12345), b"hello" * 1000)
    client.zero(100, 12345, nbd.CMD_FLAG_NO_HOLE)
    expect("zeroed", client.pread(105, 12345), bytes(100) + b"hello")
    client.trim(65536, 0)
    client.cache(65536, 0)
    client.flush()
    expect("past the end", error_of(lambda: connect(uri, False, strict=False).pread(512, client.get_size() - 256)), "EINVAL")
    client.shutdown()


def export_name_instead_of_go(uri):
    """An old client: no GO, no structured replies."""
    client = nbd.NBD()
    client.set_handshake_flags(0)
    client.set_request_structured_replies(False)
    client.connect_uri(uri)
    expect("protocol", client.get_protocol(), "newstyle")
    client.pwrite(b"x" * 512, 512)
    expect("read", client.pread(512, 512), b"x" * 512)
    client.shutdown()


def zeroes_with_and_without_hole(uri):
    client = connect(uri)
    client.pwrite(b"\xaa" * MIB, 0)
    client.zero(MIB // 2, 0, nbd.CMD_FLAG_NO_HOLE)
    client.zero(MIB // 4, MIB // 2)
    client.zero(65536, 3 * MIB // 4, nbd.CMD_FLAG_FAST_ZERO)
    client.zero(333, MIB - 1000, nbd.CMD_FLAG_FUA)
    expect("zeroes", client.pread(3 * MIB // 4 + 65536, 0), bytes(3 * MIB // 4 + 65536))
    tail = client.pread(1000, MIB - 1000)
    expect("unaligned zeroes", tail, bytes(333) + b"\xaa" * 667)
    client.flush()
    client.shutdown()


def trim_frees_and_reads_zero(uri):
    client = connect(uri, contexts=["base:allocation"])
    client.pwrite(b"\xbb" * MIB, MIB)
    client.trim(MIB, MIB, nbd.CMD_FLAG_FUA)
    expect("trimmed", client.pread(MIB, MIB), bytes(MIB))
    extents = []
    client.block_status(MIB, MIB, lambda context, offset, entries, error: extents.extend(entries))
    expect("state", extents, [MIB, 3])
    client.shutdown()


def errors_leave_the_connection_alive(uri):
    client = connect(uri, contexts=["base:allocation"], strict=False)
    size = client.get_size()
    status = lambda context, offset, entries, error: None
    expect("read past the end", error_of(lambda: client.pread(1024, size - 512)), "EINVAL")
    expect("write past the end", error_of(lambda: client.pwrite(bytes(1024), size - 512)), "ENOSPC")
    expect("zero past the end", error_of(lambda: client.zero(1024, size - 512)), "ENOSPC")
    expect("trim past the end", error_of(lambda: client.trim(1024, size - 512)), "EINVAL")
    expect("status past the end", error_of(lambda: client.block_status(1024, size - 512, status)), "EINVAL")
    expect("far away", error_of(lambda: client.pread(512, 1 << 62)), "EINVAL")
    expect("unknown flag", error_of(lambda: client.trim(512, 0, nbd.CMD_FLAG_DF)), "EINVAL")
    expect("too large", error_of(lambda: client.pwrite(bytes(33 * MIB), 0)), "EINVAL")
    expect("nothing", error_of(lambda: client.pread(0, 0)), None)
    client.pwrite(b"z" * 512, size - 512)
    expect("last bytes", client.pread(512, size - 512), b"z" * 512)
    client.shutdown()


def read_only_refuses_to_write(uri):
    client = connect(uri, strict=False)
    expect("read-only", client.is_read_only(), True)
    expect("can zero", client.can_zero(), False)
    for function in (lambda: client.pwrite(bytes(512), 0), lambda: client.zero(512, 0), lambda: client.trim(512, 0)):
        expect("writing", error_of(function), "EPERM")
    client.pread(512, 0)
    client.flush()
    client.shutdown()


def three_hundred_requests_of_all_sizes_at_once(uri):
    """Writes of 1 byte to 32 MiB, all sent before the first reply is taken; then they are all read back at once."""
    rng = random.Random(5)
    client = connect(uri)
    sizes = [rng.choice([1, 511, 512, 4095, 4096, 65536, 65537, rng.randint(1, MIB)]) for _ in range(297)]
    sizes += [32 * MIB, 8 * MIB, 5 * MIB + 1]
    rng.shuffle(sizes)
    offset, pieces = 7, []
    for length in sizes:
        pieces.append((offset, rng.randbytes(length)))
        offset += length
    everything(client, [client.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), at) for at, data in pieces])
    buffers = [(nbd.Buffer(len(data)), data, at) for at, data in pieces]
    everything(client, [client.aio_pread(buffer, at) for buffer, _, at in buffers])
    for buffer, data, at in buffers:
        if buffer.to_bytearray() != data:
            raise SystemExit(f"{len(data)} bytes at {at} are not what was written")
    client.flush()
    client.shutdown()


def everything(client, cookies):
    for cookie in cookies:
        while not client.aio_command_completed(cookie):
            client.poll(-1)


def flush_covers_the_other_connection(uri):
    """Writes on one connection, flushes on another; the caller kills the server and looks at the image."""
    writer, flusher = connect(uri), connect(uri)
    expect("multi-conn", writer.can_multi_conn(), True)
    for i in range(16):
        writer.pwrite(bytes([i + 1]) * 65536, i * 131072)
    flusher.flush()
    print("flushed", flush=True)
    writer.pread(1, 0)


def fua_needs_no_flush(uri):
    client = connect(uri)
    for i in range(8):
        client.pwrite(bytes([i + 1]) * 4096, i * 200000, nbd.CMD_FLAG_FUA)
    client.zero(65536, 3 * MIB, nbd.CMD_FLAG_FUA)
    print("written", flush=True)
    client.pread(1, 0)


run([
    export_says_what_it_can, holes_travel_as_holes, holes_of_the_file_travel_as_holes, many_holes_are_told_in_several_replies,
    write_is_data_at_once, simple_replies_do_everything, export_name_instead_of_go, zeroes_with_and_without_hole,
    trim_frees_and_reads_zero, errors_leave_the_connection_alive, read_only_refuses_to_write, three_hundred_requests_of_all_sizes_at_once,
    flush_covers_the_other_connection, fua_needs_no_flush,
])
