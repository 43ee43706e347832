"""A resource service in a process of its own, which verifies with the library: `python -m tests.faults.library`.

It takes one JSON object a line on stdin and answers each on stdout, in whatever order they are ready.
"""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httpx2

from sealwright import InvalidToken, Options, Unavailable, Verifier
from service.cli import demo
from tests.faults.caller import Answered, Held
from tests.faults.history import Call, History

_READ = 1 << 20
"""Bytes of a line at the most."""


class Library:
    """The harness's side."""

    def __init__(self, process: Process, history: History) -> None:
        self._process = process
        self._history = history
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def verify(self, held: Held, *, patience: float) -> Answered:
        """Show it an access token."""
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        began = self._history.now()
        outcome, said, seen = "silent", "no answer in time", None
        try:
            self._write({"number": number, "token": held.raw})
            async with asyncio.timeout(patience):
                told = await asked
            outcome, said = told["outcome"], told["said"]
            seen = told["seen"] - self._history.origin
            began = told["began"] - self._history.origin
        except TimeoutError:
            pass
        finally:
            del self._asked[number]
            call = Call(
                "the library",
                "verify",
                began,
                self._history.now(),
                outcome,  # type: ignore[arg-type]  # as `_judge` has them
                token=held.token,
                said=said,
                seen=seen,
            )
            self._history.calls.append(call)
        return Answered(call)

    def _write(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def listen(self) -> None:
        """Take its answers until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            asked = self._asked.get(told["number"])
            if asked is not None and not asked.done():
                asked.set_result(told)


@asynccontextmanager
async def verifying(issuer: str, internal_url: str, history: History) -> AsyncIterator[Library]:
    """Run it until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, issuer, internal_url, stdin=PIPE, stdout=PIPE, limit=_READ
    )
    library = Library(process, history)
    listening = asyncio.create_task(library.listen())
    try:
        yield library
    finally:
        process.kill()
        await process.wait()
        await listening


class _Overheard(httpx2.AsyncHTTPTransport):
    """Reads along in the feed: up to when its news are complete, by the issuer's own word.

    The verifier's own count begins when an answer arrives, which may have been long on its way; this one does not.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = self.seen = 0.0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path != "/revocations":
            return await super().handle_async_request(request)
        self.seen = self._told  # who asks again has taken the last answer over
        answer = await super().handle_async_request(request)
        body = await answer.aread()
        if answer.status_code == 200:
            self._told = json.loads(body)["seen_at"] - (time.time() - time.monotonic())
        return answer


async def _judge(
    verifier: Verifier, overheard: _Overheard, asked: dict[str, Any], lock: asyncio.Lock
) -> None:
    # A lower bound of what is known when the verdict falls: by then it may be more.
    began, seen = time.monotonic(), overheard.seen
    try:
        await verifier.authenticate(asked["token"])
        outcome, said = "accepted", ""
    except InvalidToken as refused:
        outcome, said = "refused", refused.reason
    except Unavailable as unavailable:
        outcome, said = "unavailable", str(unavailable)
    told = {
        "number": asked["number"],
        "began": began,
        "seen": seen,
        "outcome": outcome,
        "said": said,
    }
    async with lock:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


async def main(issuer: str, internal_url: str) -> None:
    """Verify whatever comes by, until stdin ends."""
    options = Options(algorithms=("ES256",), key_pause=0.1)
    reader = asyncio.StreamReader(limit=_READ)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    overheard = _Overheard()
    async with Verifier(
        issuer,
        demo.RESOURCE,
        client_id=demo.SERVICE.client_id,
        client_secret=demo.SERVICE_SECRET,
        internal_url=internal_url,
        options=options,
        transport=overheard,
    ) as verifier:
        lock = asyncio.Lock()
        async with asyncio.TaskGroup() as judging:
            while line := await reader.readline():
                judging.create_task(_judge(verifier, overheard, json.loads(line), lock))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
