"""Sends half of a large write, says "half", and sends the rest when told to; then says "done".

stalled_write.py SOCKET OFFSET
"""
import sys

import wire

MIB = 1 << 20
client = wire.Wire(sys.argv[1])
client.go()
data = b"\x5a" * (2 * MIB)
client.request(wire.WRITE, 1, int(sys.argv[2]), len(data), payload=data[:MIB])
print("half", flush=True)
sys.stdin.readline()
client.send(data[MIB:])
reply = client.simple_reply()
if reply != (0, 1):
    sys.exit(f"reply {reply}")
client.request(wire.FLUSH, 2, 0, 0)
client.simple_reply()
print("done", flush=True)
