# SPDX-License-Identifier: GPL-2.0
"""prefork.c in Python, by its own selectors."""

import os
import selectors
import signal
import socket
import sys


def work(listener):
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for _ in selector.select():
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                continue
            with connection:
                connection.sendall(str(os.getpid()).encode())


listener = socket.create_server(("127.0.0.1", 0), backlog=512)
listener.setblocking(False)
print(listener.getsockname()[1])
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if not child:
        work(listener)
    print(child)
sys.stdout.flush()
signal.pause()
