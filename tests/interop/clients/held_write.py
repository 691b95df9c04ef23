"""Writes blocks while told to, and tells when each is done.

held_write.py URI OFFSET COUNT   prints "connected"; at a line on stdin sends COUNT writes of 4 KiB and prints "sent";
prints "done" when all were acknowledged and read back
"""
import sys

import nbd

uri, offset, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = nbd.NBD()
client.connect_uri(uri)
print("connected", flush=True)
sys.stdin.readline()
blocks = [bytes([i + 1]) * 4096 for i in range(count)]
cookies = [client.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(block)), offset + i * 4096) for i, block in enumerate(blocks)]
while client.aio_get_direction() & nbd.AIO_DIRECTION_WRITE:
    client.poll(-1)
print("sent", flush=True)
for cookie in cookies:
    while not client.aio_command_completed(cookie):
        client.poll(-1)
for i, block in enumerate(blocks):
    if client.pread(4096, offset + i * 4096) != block:
        sys.exit(f"block {i} is not what was written")
client.flush()
client.shutdown()
print("done", flush=True)
