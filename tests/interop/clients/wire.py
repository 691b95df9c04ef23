"""NBD by hand: the numbers are those of the protocol's specification (doc/proto.md of the NBD project)."""
import socket
import struct

IHAVEOPT = 0x49484156454F5054
REPLY_MAGIC = 0x3E889045565A9
REQUEST, EXTENDED_REQUEST = 0x25609513, 0x21E41C71
SIMPLE_REPLY, STRUCTURED_REPLY, EXTENDED_REPLY = 0x67446698, 0x668E33EF, 0x6E8A278C
OPT_EXPORT_NAME, OPT_ABORT, OPT_GO, OPT_STRUCTURED_REPLY, OPT_SET_META_CONTEXT, OPT_EXTENDED_HEADERS = 1, 2, 7, 8, 10, 11
REP_ACK, REP_META_CONTEXT = 1, 4
READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FLAG_PAYLOAD_LEN = 1 << 5
TYPE_DATA, TYPE_HOLE, TYPE_STATUS_EXT = 1, 2, 6


class Wire:
    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX)
        # First: with a timeout a full queue of connections would be an error, not a wait.
        self.socket.connect(path)
        self.socket.settimeout(timeout)

    def send(self, data):
        self.socket.sendall(data)

    def take(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError(f"closed after {len(data)} of {count} bytes")
            data += more
        return data

    def unpack(self, layout):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def is_closed(self):
        """Reads until the server ends the connection; a timeout raises."""
        try:
            while self.socket.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        return True

    def greet(self):
        magic, opt, flags = self.unpack(">QQH")
        assert (magic, opt) == (0x4E42444D41474943, IHAVEOPT), "greeting"
        self.send(struct.pack(">I", flags & 3))

    def option(self, number, data=b""):
        self.send(struct.pack(">QII", IHAVEOPT, number, len(data)) + data)

    def option_replies(self, number, data=b""):
        """All replies up to the acknowledgement or error, as (type, data)."""
        self.option(number, data)
        replies = []
        while True:
            magic, option, kind, length = self.unpack(">QIII")
            assert (magic, option) == (REPLY_MAGIC, number), f"reply to option {number}"
            replies.append((kind, self.take(length)))
            if kind == REP_ACK or kind >= 1 << 31:
                return replies

    def go(self, *options):
        self.greet()
        for option in options:
            assert self.option_replies(option)[-1][0] == REP_ACK, f"option {option}"
        assert self.option_replies(OPT_GO, struct.pack(">IH", 0, 0))[-1][0] == REP_ACK, "go"

    def request(self, command, cookie, offset, length, flags=0, payload=b""):
        self.send(struct.pack(">IHHQQI", REQUEST, flags, command, cookie, offset, length) + payload)

    def simple_reply(self):
        magic, error, cookie = self.unpack(">IIQ")
        assert magic == SIMPLE_REPLY, f"magic {magic:#x}"
        return error, cookie

    def extended_request(self, command, cookie, offset, length, flags=0, payload=b""):
        self.send(struct.pack(">IHHQQQ", EXTENDED_REQUEST, flags, command, cookie, offset, length) + payload)

    def extended_chunks(self, cookie):
        """All chunks of one reply, as (type, payload)."""
        chunks = []
        while True:
            magic, flags, kind, answered, _, length = self.unpack(">IHHQQQ")
            assert (magic, answered) == (EXTENDED_REPLY, cookie), f"magic {magic:#x}, cookie {answered}"
            chunks.append((kind, self.take(length)))
            if flags & 1:
                return chunks
