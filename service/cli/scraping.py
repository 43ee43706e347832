"""GET /metrics on a port of its own, answered by the process that started the workers."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, SHUT_RDWR, socket
from typing import Any

from service.board import Board
from service.cli import output
from service.metrics import Exposition
from service.settings import PREFIX, Settings

MAX_CONNECTIONS = 16
"""At once: each has a thread. More are hung up on."""

TIMEOUT = 5.0
"""Seconds for a connection, from its beginning to its end."""


@contextmanager
def scraped(settings: Settings, counts: Board) -> Iterator[None]:
    """Answer, if a port is set for it, until the end of the block."""
    port = settings.metrics_port
    if port is None:
        yield
        return
    exposition = Exposition(counts, settings.metrics_token)
    try:
        server = _Server((settings.metrics_host, port), exposition)
    except OSError as error:
        output.fail(
            f"Cannot listen on port {port} of {settings.metrics_host} ({error.strerror}): {PREFIX}METRICS_PORT"
        )
    with server:
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], exposition: Exposition) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self.exposition = exposition
        self._ends: dict[socket, float] = {}
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread and its time, unless there are too many."""
        if len(self._ends) >= MAX_CONNECTIONS:
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + TIMEOUT
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, from its thread when it is done."""
        self._ends.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Hang up, every now and then, on callers whose time is over: their threads then find nothing more to read."""
        now = time.monotonic()
        for request, ends in list(self._ends.items()):
            if ends < now:
                with suppress(OSError):
                    request.shutdown(SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of callers that hang up: `socketserver` would print a traceback."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer Prometheus."""
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"there is nothing here but /metrics\n", "text/plain")
        elif not self.server.exposition.allows(self.headers.get("Authorization")):
            self._answer(401, b"this takes the token in SEALWRIGHT_METRICS_TOKEN\n", "text/plain")
        else:
            self._answer(200, *self.server.exposition.text(self.headers.get("Accept", "")))

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Bearer realm="sealwright"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: what is asked here is no event."""
