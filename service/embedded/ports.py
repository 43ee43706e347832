"""Ports on the loopback interface."""

import random
import socket

LOOPBACK = "127.0.0.1"
_RANGE = range(15_000, 32_000)
"""Below what the kernel hands to outgoing connections: while a server is down, no client of it can
take its port, nor connect to itself there."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As the servers do it: connections that are closing do not count, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(preferred: int | None = None) -> int:
    """Choose the preferred port if it is free, else another; somebody may still be faster."""
    if preferred is not None and is_free(preferred):
        return preferred
    candidates = random.SystemRandom().sample(_RANGE, 200)
    return next(filter(is_free, candidates))
