# SPDX-License-Identifier: GPL-2.0
"""Asyncio under load, in one process: an echo server, clients that come and go, a timer, and a
task that yields. Runs for as many seconds as its argument says."""

import asyncio
import sys
import time

END = time.monotonic() + float(sys.argv[1])


async def serve(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()


async def talk(port):
    while time.monotonic() < END:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(20):
            writer.write(b"x" * 2000)
            await reader.readexactly(2000)
        writer.close()
        await writer.wait_closed()


async def tick():
    while time.monotonic() < END:
        await asyncio.sleep(0.0107)
        for _ in range(25):
            await asyncio.sleep(0)


async def yield_often():
    while time.monotonic() < END:
        for _ in range(300):
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*(talk(port) for _ in range(8)), tick(), yield_often())
    server.close()


asyncio.run(main())
