"""A way between two programs, on which connections are cut, held up and left half open."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast
from urllib.parse import urlsplit

Way = Literal["request", "answer"]


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends after this share of what comes by next; with `reset`, as if nobody had ever known of it."""

    way: Way
    share: float
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """What comes by next after this share of it, and the end of its connection, arrive so many seconds later."""

    way: Way
    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """The request that comes by next arrives, but the service never learns that its caller has gone."""

    way: Way = "request"


Fault = Cut | Hold | HalfOpen


class Relay:
    """Passes connections on. A fault strikes whoever comes by next."""

    def __init__(self, to: str, struck: Callable[[Fault, float], None]) -> None:
        """Take the URL to pass on to, and what is told of each fault that struck, with the seconds that it lasts."""
        parts = urlsplit(to)
        assert parts.hostname is not None
        assert parts.port is not None
        self.to = parts.hostname, parts.port
        self.url = ""
        self.struck = struck
        self._faults: dict[Way, deque[Fault]] = {"request": deque(), "answer": deque()}
        self._open: set[asyncio.Transport] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def strike(self, fault: Fault) -> None:
        """Let this happen to whoever comes by next."""
        self._faults[fault.way].append(fault)

    def relent(self) -> None:
        """Forget the faults that have struck nobody yet."""
        for waiting in self._faults.values():
            waiting.clear()

    def next_fault(self, way: Way) -> Fault | None:
        """Return what happens to what comes by now."""
        return self._faults[way].popleft() if self._faults[way] else None

    def opened(self, transport: asyncio.Transport) -> None:
        """Hold a connection, to close it at the end."""
        self._open.add(transport)

    def closed(self, transport: asyncio.Transport) -> None:
        """Let go of one."""
        self._open.discard(transport)

    def spawn(self, work: Awaitable[None]) -> None:
        """Let something go on beside the traffic."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def reset(self) -> None:
        """End every connection as a firewall does that has forgotten it."""
        for transport in list(self._open):
            _reset(transport)

    async def close(self) -> None:
        """End what goes on, and every connection."""
        for task in list(self._tasks):
            task.cancel()
        for transport in list(self._open):
            transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for the transports to hear of it


class _End(asyncio.Protocol):
    """One end of a connection: what it sends goes to the other."""

    def __init__(self, relay: Relay, way: Way) -> None:
        self._relay = relay
        self._way = way
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self._early: list[bytes] = []
        self._held: list[bytes] | None = None
        self._has_gone = False
        self._is_silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._relay.opened(self.transport)
        if self._way == "request":
            self._relay.spawn(self._connect())

    async def _connect(self) -> None:
        other = _End(self._relay, "answer")
        other.other = self
        try:
            await asyncio.get_running_loop().create_connection(lambda: other, *self._relay.to)
        except OSError:
            self.close()
            return
        self.other = other
        for data in self._early:
            self._pass_on(data)
        if self._has_gone and self._held is None and not self._is_silent:
            other.close()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        assert self.other is not None
        if self._held is not None:
            self._held.append(data)
            return
        fault = self._relay.next_fault(self._way)
        match fault:
            case None:
                self.other.write(data)
                return
            case Cut(share=share, reset=reset):
                self.other.write(data[: int(len(data) * share)])
                self.other.close(reset=reset)
                self.close(reset=reset)
            case Hold(share=share, seconds=seconds):
                passing = int(len(data) * share)
                self.other.write(data[:passing])
                self._held = [data[passing:]]
                self._relay.spawn(self._let_go(seconds))
            case HalfOpen():
                self._is_silent = True
                self.other.write(data)
        self._relay.struck(fault, fault.seconds if isinstance(fault, Hold) else 0.0)

    async def _let_go(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        held, self._held = self._held, None
        assert held is not None
        assert self.other is not None
        if self._has_gone:
            self.other.write_last(b"".join(held))
        else:
            self.other.write(b"".join(held))

    def connection_lost(self, _: Exception | None) -> None:
        assert self.transport is not None
        self._relay.closed(self.transport)
        self._has_gone = True
        if self.other is not None and self._held is None and not self._is_silent:
            self.other.close()

    def write(self, data: bytes) -> None:
        """Send to whoever is at this end."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def write_last(self, data: bytes) -> None:
        """Send, and the end of the connection in the same segment: as when all of it was sent again after a gap."""
        if self.transport is not None and not self.transport.is_closing():
            with suppress(AttributeError, OSError):  # Linux has it; elsewhere the end comes a moment later
                self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            self.transport.write(data)
            self.transport.close()

    def close(self, *, reset: bool = False) -> None:
        """End it, once what was written has been sent."""
        if self.transport is None:
            return
        if reset:
            _reset(self.transport)
        else:
            self.transport.close()


def _reset(transport: asyncio.Transport) -> None:
    with suppress(OSError):  # it has ended already
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    transport.abort()


@asynccontextmanager
async def relayed(to: str, struck: Callable[[Fault, float], None]) -> AsyncIterator[Relay]:
    """Relay until the end of the block."""
    relay, parts = Relay(to, struck), urlsplit(to)
    credentials, at, _ = parts.netloc.rpartition("@")
    server = await asyncio.get_running_loop().create_server(partial(_End, relay, "request"), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    relay.url = parts._replace(netloc=f"{credentials}{at}{host}:{port}").geturl()
    try:
        yield relay
    finally:
        server.close()
        await relay.close()
        await server.wait_closed()
