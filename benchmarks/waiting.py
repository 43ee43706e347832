"""Waiting for a server, without taking the processor from it."""

import http.client
import subprocess
import time

_PATIENCE = 120.0
_LOOK = 0.01


def answers(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server on this machine answers 200; as long as its process lives."""
    deadline = time.monotonic() + _PATIENCE
    while not _is_there(port, path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"nothing answers {path} on port {port}")
        time.sleep(_LOOK)


def _is_there(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
