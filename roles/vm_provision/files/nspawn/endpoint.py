# Copyright (c) 2026, the netops.cni_migration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""endpoint.py ADDRESS PORT SERVER...: one address for the API servers of a lab, as a load balancer gives it to a real cluster.

Each server is asked for /readyz every second. A connection goes to the next one that is ready, and is ended when that one has not been for three
times in a row, since who has lost its power ends none itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import sys
from dataclasses import dataclass, field

PERIOD = PATIENCE = 1.0  # seconds
MISSES = 3  # a busy one may be late once
UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname = False
UNCHECKED.verify_mode = ssl.CERT_NONE  # who connects checks the certificate: this only passes on


@dataclass
class Server:
    """An API server, and the connections that lead to it."""

    address: str
    port: int
    misses: int = MISSES
    connections: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def ready(self) -> bool:
        """Whether connections may go to it."""
        return self.misses < MISSES

    async def watch(self) -> None:
        """Ask it for ever."""
        while True:
            self.misses = 0 if await self._is_ready() else self.misses + 1
            if not self.ready:
                for writer in self.connections:
                    writer.transport.abort()
            await asyncio.sleep(PERIOD)

    async def _is_ready(self) -> bool:
        try:
            return await asyncio.wait_for(self._asked(), PATIENCE)
        except (OSError, asyncio.TimeoutError):
            return False

    async def _asked(self) -> bool:
        reader, writer = await asyncio.open_connection(self.address, self.port, ssl=UNCHECKED)
        try:
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            return b" 200 " in await reader.readline()
        finally:
            writer.transport.abort()


class Endpoint:
    """Passes connections on."""

    def __init__(self, servers: list[Server]) -> None:
        self.servers, self._turn = servers, itertools.count()

    async def passed_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until both sides have ended it, or the server is no longer ready."""
        turn = next(self._turn) % len(self.servers)
        for server in filter(lambda each: each.ready, self.servers[turn:] + self.servers[:turn]):
            try:
                behind, before = await asyncio.wait_for(asyncio.open_connection(server.address, server.port), PATIENCE)
            except (OSError, asyncio.TimeoutError):
                continue
            both = {writer, before}
            server.connections |= both
            try:
                await asyncio.wait([asyncio.ensure_future(copy(reader, before)), asyncio.ensure_future(copy(behind, writer))])
            finally:
                server.connections -= both
                before.transport.abort()
            break
        writer.transport.abort()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All of it, and its end."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def serve(address: str, port: int, servers: list[Server]) -> None:
    """Serve for ever."""
    watches = [asyncio.ensure_future(server.watch()) for server in servers]
    await asyncio.start_server(Endpoint(servers).passed_on, address, port)
    await asyncio.gather(*watches)


if __name__ == "__main__":
    address, port, *backends = sys.argv[1:]
    asyncio.run(serve(address, int(port), [Server(backend, int(port)) for backend in backends]))
