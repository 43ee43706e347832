"""A way through which a program reaches a server: what goes through is counted, and it can be cut."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit


class Relay(ThreadingTCPServer):
    """Passes connections on to the server of `to`, and counts the bytes that are sent there."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, to: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        parts = urlsplit(to)
        self.to = parts.hostname, parts.port
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.sent = 0
        self._open: set[socket.socket] = set()
        self._is_cut = False

    def count(self, data: bytes) -> None:
        self.sent += len(data)

    def hold(self, connection: socket.socket) -> None:
        self._open.add(connection)
        if self._is_cut:
            close(connection)

    def cut(self) -> None:
        """End every connection, and each new one, until it is mended."""
        self._is_cut = True
        while self._open:
            close(self._open.pop())

    def mend(self) -> None:
        self._is_cut = False


class _Connection(BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        self.server.hold(self.request)
        with socket.create_connection(self.server.to) as there:
            threading.Thread(target=pump, args=(there, self.request, lambda _: None), daemon=True).start()
            pump(self.request, there, self.server.count)


def close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def pump(source: socket.socket, sink: socket.socket, see: Callable[[bytes], None]) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            see(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def relayed(to: str) -> Iterator[Relay]:
    """Relay until the end of the block."""
    with Relay(to) as relay:
        thread = threading.Thread(target=relay.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()
