"""A service manager in small: it owns a listening socket and starts a server on it, again and again."""
import os
import signal
import socket
import sys

from cases import expect, run
from wire import READ, WRITE, Wire


def start(listener, binary, runtime, image):
    pid = os.fork()
    if pid:
        return pid
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    environment = dict(os.environ, LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), QCOW2BLK_RUNTIME_DIR=runtime)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execve(binary, [binary, "attach", image, "--foreground", "--name", "activated"], environment)


def socket_serves_one_server_after_the_other(binary, runtime, image):
    path = os.path.join(runtime, "listen")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    for generation in range(3):
        # The client is first, as with a real activation: it waits in the queue until the server is there.
        client = Wire(path)
        pid = start(listener, binary, runtime, image)
        client.go()
        if generation:
            client.request(READ, 1, 0, 512)
            expect("read", client.simple_reply(), (0, 1))
            expect("contents", client.take(512), bytes([generation]) * 512)
        client.request(WRITE, 2, 0, 512, payload=bytes([generation + 1]) * 512)
        expect("write", client.simple_reply(), (0, 2))
        os.kill(pid, signal.SIGTERM)
        expect("exit status of the server", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        expect("socket is still there", os.path.exists(path), True)


run([socket_serves_one_server_after_the_other])
