"""Callers who mean harm, by the hundred: each holds a connection in its own way, and takes another for a lost one."""

import asyncio
import os
import random
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import uvloop

from tests.support.load import Address, Connection

PAUSE = 1.0
"""Seconds at most before somebody comes, or comes again who was hung up on."""

GET = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n%b\r\n\r\n"


async def _until_hung_up_on(connection: Connection) -> None:
    with suppress(OSError):
        while await connection[0].read(65536):
            pass


async def _slowly(connection: Connection, beginning: bytes) -> None:
    reading = asyncio.create_task(_until_hung_up_on(connection))
    connection[1].write(beginning)
    while not reading.done():
        connection[1].write(b"a")
        await asyncio.wait({reading}, timeout=1)


async def _without_end(connection: Connection, beginning: bytes, piece: bytes, pause: float = 0) -> None:
    _, writer = connection
    writer.write(beginning)
    while not writer.is_closing():
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)


async def silent(connection: Connection) -> None:
    """Say nothing."""
    await _until_hung_up_on(connection)


async def idle(connection: Connection) -> None:
    """Ask once, then no more."""
    connection[1].write(GET)
    await _until_hung_up_on(connection)


async def slow_head(connection: Connection) -> None:
    """Send a head, a byte a second."""
    await _slowly(connection, b"GET / HTTP/1.1\r\nHost: localhost\r\nLong: ")


async def large_head(connection: Connection) -> None:
    """Send as much of a head as is taken, in as many headers, but not its end."""
    await _slowly(connection, b"GET / HTTP/1.1\r\n" + b"a:%b\r\n" % (b"b" * 500) * 120 + b"Long: ")


async def slow_body(connection: Connection) -> None:
    """Send a body, a byte a second."""
    await _slowly(connection, POST % b"Content-Length: 60000")


async def half_a_body(connection: Connection) -> None:
    """Send a body as large as is taken, but its end."""
    await _slowly(connection, POST % b"Content-Length: 65000" + b"a" * 60_000)


async def huge_body(connection: Connection) -> None:
    """Send a body of a terabyte."""
    await _without_end(connection, POST % b"Content-Length: 1000000000000", b"a" * 65536)


async def endless_chunks(connection: Connection) -> None:
    """Send a body in chunks that never end."""
    chunk = b"1000\r\n" + b"a" * 4096 + b"\r\n"
    await _without_end(connection, POST % b"Transfer-Encoding: chunked", chunk)


async def deaf(connection: Connection) -> None:
    """Ask on and on, and read no answer."""
    connection[1].transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
    await _without_end(connection, b"", GET * 8, pause=0.01)


async def line_break(connection: Connection) -> None:
    """Ask once, then send a line break, and no more."""
    connection[1].write(GET)
    await connection[0].read(12)
    connection[1].write(b"\r\n")
    await _until_hung_up_on(connection)


async def late_body(connection: Connection) -> None:
    """Send a body that nobody waits for, a byte a second."""
    connection[1].write(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n")
    await connection[0].read(12)
    await _slowly(connection, b"a")


KINDS: Mapping[str, Callable[[Connection], Awaitable[None]]] = {
    kind.__name__: kind
    for kind in (
        *(silent, idle, line_break, slow_head, large_head, slow_body, late_body, half_a_body),
        *(huge_body, endless_chunks, deaf),
    )
}


def harass(address: Address, kinds: Mapping[str, int], seconds: float) -> Counter[str]:
    """Have so many callers of each kind for so long; return how many connections each kind got."""
    connections: Counter[str] = Counter()
    os.nice(10)  # they have machines of their own: this one's time is the service's
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, sum(kinds.values()) + 256), hard))

    async def caller(name: str, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(random.uniform(0, PAUSE))
            try:
                connection = await address.connect()
                connections[name] += 1
                try:
                    await KINDS[name](connection)
                finally:
                    connection[1].transport.abort()
            except OSError:
                pass

    async def main() -> None:
        until = time.monotonic() + seconds
        tasks = [
            asyncio.create_task(caller(name, until)) for name, many in kinds.items() for _ in range(many)
        ]
        done, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for task in done:
            task.result()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    return connections
