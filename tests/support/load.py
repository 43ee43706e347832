"""Asking a server at a rate, whatever becomes of the answers: how to ask for more than it can do.

An open loop: a caller who waits for an answer before asking again would ask less, the slower the server is. Times
count from when a question was due, so that one which had to wait for its turn here is not flattered.
"""

import asyncio
import json
import multiprocessing
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import uvloop

from tests.support.processes import descriptors, resident

PATIENCE = 30.0
"""Seconds after which a caller here gives up."""

NOTHING = 0
"""The status of a question that got no answer."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answer:
    """What came of a question. `due` is of the monotonic clock, which all processes share."""

    due: float
    seconds: float
    status: int
    retry_after: int = 0


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @staticmethod
    def of(url: str) -> "Address":
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return Address(parts.hostname, parts.port)

    async def connect(self) -> Connection:
        return await asyncio.open_connection(self.host, self.port)


@dataclass(frozen=True)
class Pace:
    """So many questions a second, for so long, from a moment on."""

    rate: float
    seconds: float
    begin: float
    """By the monotonic clock."""

    @property
    def end(self) -> float:
        return self.begin + self.seconds


def newcomers(address: Address, requests: Sequence[bytes], pace: Pace) -> list[Answer]:
    """Send these requests in turn, each over a connection of its own."""

    async def ask(number: int) -> tuple[int, int]:
        reader, writer = await address.connect()
        try:
            writer.write(requests[number % len(requests)])
            status, headers, _ = await _answer(reader)
            return status, int(headers.get(b"retry-after", 0))
        finally:
            writer.close()

    return _at(pace, ask)


def refreshes(address: Address, tokens: Sequence[str], pace: Pace) -> list[Answer]:
    """Refresh these sessions in turn, each over a connection that it keeps."""
    sessions = [_Session(address, token) for token in tokens]

    async def refresh(number: int) -> tuple[int, int]:
        return await sessions[number % len(sessions)].refresh(), 0

    return _at(pace, refresh)


class _Session:
    """A session that keeps to the protocol: without an answer it sends the same token again, once."""

    def __init__(self, address: Address, token: str) -> None:
        self._address = address
        self._token = token
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None

    async def refresh(self) -> int:
        async with self._turn:
            try:
                return await self._send()
            except (OSError, EOFError):
                self._connection = None
                return await self._send()

    async def _send(self) -> int:
        if self._connection is None or self._connection[1].is_closing():
            self._connection = await self._address.connect()
        reader, writer = self._connection
        writer.write(post("/refresh", {"refresh_token": self._token}))
        status, _, body = await _answer(reader)
        if status == 200:
            self._token = json.loads(body)["refresh_token"]
        return status


def post(path: str, form: dict[str, str], *headers: bytes) -> bytes:
    """A request as it is sent."""
    body = urlencode(form).encode()
    head = (
        f"POST {path} HTTP/1.1".encode(),
        b"Host: localhost",
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Length: %d" % len(body),
        *headers,
    )
    return b"\r\n".join((*head, b"", body))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes], bytes]:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    fields = (each.partition(b":") for each in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers[b"content-length"]))
    return int(line.split()[1]), headers, body


def _at(pace: Pace, ask: Callable[[int], Awaitable[tuple[int, int]]]) -> list[Answer]:
    async def asked(number: int, due: float) -> Answer:
        await asyncio.sleep(due - time.monotonic())
        try:
            async with asyncio.timeout(PATIENCE):
                status, retry_after = await ask(number)
        except (OSError, EOFError, TimeoutError):
            status, retry_after = NOTHING, 0
        return Answer(due, time.monotonic() - due, status, retry_after)

    async def main() -> list[Answer]:
        numbers = range(int(pace.rate * pace.seconds))
        questions = (asked(number, pace.begin + number / pace.rate) for number in numbers)
        return list(await asyncio.gather(*questions))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def percentile(seconds: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Peak:
    """The most that any of some processes had while it was looked at: bytes of memory, file descriptors."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.memory = self.descriptors = 0
        self._over = threading.Event()

    @contextmanager
    def looking(self) -> Iterator["Peak"]:
        """Look again and again, until the end of the block."""
        looker = threading.Thread(target=self._look)
        looker.start()
        try:
            yield self
        finally:
            self._over.set()
            looker.join()

    def _look(self) -> None:
        while True:
            self.memory = max(self.memory, *map(resident, self._pids))
            self.descriptors = max(self.descriptors, *map(descriptors, self._pids))
            if self._over.wait(0.05):
                return


@contextmanager
def processes(count: int) -> Iterator[list[ProcessPoolExecutor]]:
    """Have so many processes, each ready to ask: what asks must not wait for what measures, nor the other way round."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as held:
        pools = [held.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for _ in range(count)]
        for started in [pool.submit(percentile, [0.0], 0) for pool in pools]:
            started.result()
        yield pools
