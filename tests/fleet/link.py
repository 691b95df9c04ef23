#!/usr/bin/python3
"""Links of nodes to a server: as far away and as narrow as they are told to be, in user space, so that no rights are needed.

link.py TARGET_PORT RTT_MS MBIT_S COUNT    prints a port for each link, one a line, then serves until it is killed

A link is a TCP port. All connections through it share its rate towards the node, as they share a network card; each byte arrives half a
round trip after it was sent, and a new connection is heard of a round trip later, as with TCP's own handshake.
"""

import asyncio
import sys
import time

PIECE = 64 << 10
# What a connection holds on its way: more than 100 Mbit/s bring in 100 ms, so that the rate is what limits and not this.
IN_FLIGHT = 2 << 20


class Rate:
    """Bytes a second that everything on a link shares."""

    def __init__(self, bytes_per_second):
        self.bytes_per_second, self.free = bytes_per_second, 0.0

    def leaves_at(self, length):
        """When the last of so many bytes has left, if they are sent now."""
        self.free = max(self.free, time.monotonic()) + length / self.bytes_per_second
        return self.free


async def carry(reader, writer, delay, rate):
    """Moves bytes one way. Reads no more than may be in flight."""
    queue, room = asyncio.Queue(), asyncio.Semaphore(IN_FLIGHT // PIECE)

    async def deliver():
        try:
            while True:
                due, data = await queue.get()
                if (wait := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                room.release()
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            # Who still reads for it must not wait for room: it sees then that nobody delivers.
            for _ in range(IN_FLIGHT // PIECE):
                room.release()

    delivery = keep(deliver())
    try:
        while True:
            await room.acquire()
            if delivery.done():
                break
            data = await reader.read(PIECE)
            left = rate.leaves_at(len(data)) if rate else time.monotonic()
            queue.put_nowait((left + delay, data))
            if not data:
                break
        await delivery
    except OSError:
        delivery.cancel()


# The loop itself holds tasks weakly: those that wait only for each other would be collected.
TASKS = set()


def keep(coroutine):
    """Starts a task that lives until it ends."""
    task = asyncio.create_task(coroutine)
    TASKS.add(task)
    task.add_done_callback(end)
    return task


def end(task):
    """A connection that broke is no error of the link."""
    TASKS.discard(task)
    if not task.cancelled() and not isinstance(task.exception(), (OSError, type(None))):
        raise task.exception()


async def serve(port, rtt, rate, start):
    """Opens a link, and tells its port."""
    async def forward(reader, writer):
        await asyncio.sleep(rtt)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.wait([keep(carry(reader, far_writer, rtt / 2, None)), keep(carry(far_reader, writer, rtt / 2, rate))])
        for end in (writer, far_writer):
            end.close()

    server = await asyncio.start_server(lambda reader, writer: keep(forward(reader, writer)), "127.0.0.1", start, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    return server


async def main():
    port, rtt, mbits, count = int(sys.argv[1]), float(sys.argv[2]) / 1000, float(sys.argv[3]), int(sys.argv[4])
    servers = [await serve(port, rtt, Rate(mbits * 1e6 / 8), 0) for _ in range(count)]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
