"""A bare ASGI answer: what any HTTP answer costs at least, on the server and event loop that the service runs on."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive, Scope, Send

from benchmarks.waiting import answers
from service.embedded import ports
from tests.support.pages import ROOT

_BODY = b'"%b"' % (498 * b"a")
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())],
}


async def app(scope: Scope, _: Receive, send: Send) -> None:
    """Answer anything."""
    if scope["type"] == "http":
        await send(_START)
        await send({"type": "http.response.body", "body": _BODY})


@contextmanager
def serving(workers: int) -> Iterator[tuple[int, int]]:
    """Serve it; yield the port and the process id."""
    port = ports.choose()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "benchmarks.bare:app"),
            *("--port", str(port), "--workers", str(workers)),
            *("--loop", "uvloop", "--http", "httptools", "--lifespan", "off"),
            *("--no-access-log", "--log-level", "warning"),
        ],
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        answers(port, "/", process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(20)
