"""Writes until the server dies, and tells what a flush has covered.

kill_load.py URI BLOCK   blocks go one after the other, each filled from its number; "flushed N" after every 16
"""
import sys

import nbd

client = nbd.NBD()
client.connect_uri(sys.argv[1])
block = int(sys.argv[2])
count = client.get_size() // block
number = 0
try:
    while number < count:
        cookies = []
        for _ in range(16):
            data = number.to_bytes(4, "big") * (block // 4)
            cookies.append(client.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), (number * 7919 % count) * block))
            number += 1
        for cookie in cookies:
            while not client.aio_command_completed(cookie):
                client.poll(-1)
        client.flush()
        print("flushed", number, flush=True)
except nbd.Error:
    print("died", flush=True)
