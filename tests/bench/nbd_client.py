"""Just enough of an NBD client to time the first byte: fixed newstyle, EXPORT_NAME, one simple read."""
import socket
import struct

NBDMAGIC = 0x4E42444D41474943
IHAVEOPT = 0x49484156454F5054
OPT_EXPORT_NAME = 1
FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES = 1, 2
REQUEST_MAGIC, SIMPLE_REPLY_MAGIC = 0x25609513, 0x67446698
CMD_READ, CMD_DISC = 0, 2


def _receive(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError(f"the server hung up after {len(data)} of {count} bytes")
        data += part
    return data


def read_once(socket_path, export, length=512):
    """Connects, reads the first bytes of the export, disconnects; raises OSError while nobody listens yet."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(socket_path)
        magic, options, flags = struct.unpack(">QQH", _receive(connection, 18))
        if magic != NBDMAGIC or options != IHAVEOPT or not flags & FLAG_FIXED_NEWSTYLE:
            raise ConnectionError("not a fixed newstyle NBD server")
        name = export.encode()
        connection.sendall(struct.pack(">IQII", flags & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES), IHAVEOPT,
                                       OPT_EXPORT_NAME, len(name)) + name)
        _receive(connection, 10 if flags & FLAG_NO_ZEROES else 134)
        connection.sendall(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, CMD_READ, 1, 0, length))
        magic, error, cookie = struct.unpack(">IIQ", _receive(connection, 16))
        if magic != SIMPLE_REPLY_MAGIC or error != 0 or cookie != 1:
            raise ConnectionError(f"read failed: magic {magic:#x}, error {error}")
        data = _receive(connection, length)
        connection.sendall(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, CMD_DISC, 2, 0, 0))
        return data
