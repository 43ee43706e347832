"""The relay of the fault tests: connections suffer what they are said to suffer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from tests.faults.relay import Cut, Fault, HalfOpen, Hold, Relay, relayed

pytestmark = pytest.mark.anyio

PATIENCE = 10.0


class Server:
    """Answers `yes` to whatever comes, and notes it; `end` where the caller has gone."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[bytes | str] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1000):
                self.seen.put_nowait(data)
                if not reader.at_eof():
                    writer.write(b"yes")
        self.seen.put_nowait("end")
        writer.close()

    async def next(self) -> bytes | str:
        async with asyncio.timeout(PATIENCE):
            return await self.seen.get()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    yield made, f"http://user:word@{host}:{port}/path"
    listening.close()


@pytest.fixture
async def relay(server: tuple[Server, str]) -> AsyncIterator[Relay]:
    async with relayed(server[1], lambda *_: None) as made:
        yield made


Call = Callable[[Relay], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    writers = []

    async def ask(relay: Relay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        to = urlsplit(relay.url)
        reader, writer = await asyncio.open_connection(to.hostname, to.port)
        writers.append(writer)
        writer.write(b"question")
        return reader, writer

    yield ask
    for writer in writers:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await reader.read(1000)


async def test_what_nothing_happens_to_passes_both_ways_and_so_does_its_end(
    server: tuple[Server, str], relay: Relay, call: Call
) -> None:
    reader, writer = await call(relay)

    assert relay.url.startswith("http://user:word@127.0.0.1:")
    assert await server[0].next() == b"question"
    assert await answer(reader) == b"yes"
    writer.close()
    assert await server[0].next() == "end"


async def test_a_connection_is_reset(server: tuple[Server, str], relay: Relay, call: Call) -> None:
    relay.strike(Cut("answer", 0.0, reset=True))

    reader, _ = await call(relay)

    assert await server[0].next() == b"question"
    with pytest.raises(ConnectionResetError):
        await answer(reader)


@pytest.mark.parametrize(("share", "seen"), [(0.0, []), (0.5, [b"ques"]), (1.0, [b"question"])])
async def test_a_request_is_cut(
    server: tuple[Server, str], relay: Relay, call: Call, share: float, seen: list[bytes]
) -> None:
    relay.strike(Cut("request", share))

    reader, _ = await call(relay)

    assert [await server[0].next() for _ in range(len(seen) + 1)] == [*seen, "end"]
    assert await answer(reader) == b""


async def test_an_answer_is_cut_and_the_next_is_not(
    server: tuple[Server, str], relay: Relay, call: Call
) -> None:
    relay.strike(Cut("answer", 0.4))

    for said in (b"y", b"yes"):
        reader, _ = await call(relay)
        assert await server[0].next() == b"question"
        assert await answer(reader) == said
        assert said == b"yes" or await server[0].next() == "end"


async def test_what_is_held_up_arrives_later(server: tuple[Server, str], relay: Relay, call: Call) -> None:
    relay.strike(Hold("request", 0.5, 0.2))

    reader, _ = await call(relay)

    assert await server[0].next() == b"ques"
    assert await answer(reader) == b"yes"
    assert await server[0].next() == b"tion"


async def test_a_request_that_was_held_up_arrives_with_the_end_of_its_connection(
    server: tuple[Server, str], relay: Relay, call: Call
) -> None:
    relay.strike(Hold("request", 0.0, 0.2))

    _, writer = await call(relay)
    writer.close()

    assert await server[0].next() == b"question"
    assert await server[0].next() == "end"


async def test_nobody_learns_of_the_end_of_a_connection_that_is_half_open(
    server: tuple[Server, str], relay: Relay, call: Call
) -> None:
    relay.strike(HalfOpen())

    reader, writer = await call(relay)
    assert await server[0].next() == b"question"
    assert await answer(reader) == b"yes"
    writer.close()
    await writer.wait_closed()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await server[0].next()


async def test_each_fault_that_struck_is_told_with_its_time(server: tuple[Server, str], call: Call) -> None:
    told: list[tuple[Fault, float]] = []
    async with relayed(server[1], lambda fault, seconds: told.append((fault, seconds))) as relay:
        relay.strike(Hold("request", 0.0, 0.1))
        await call(relay)
        await server[0].next()
        relay.strike(Cut("answer", 0.0))
        relay.relent()
        reader, _ = await call(relay)
        assert await answer(reader) == b"yes"

    assert told == [(Hold("request", 0.0, 0.1), 0.1)]
