"""The load: callers that each send their next request as soon as they have their answer.

A program of its own, `python -m benchmarks.generator`, with a job as JSON on stdin. It prints START when it has
warmed up, STOP when it is done, then what it saw as JSON. Blocking sockets and epoll: some 20 µs of CPU an answer,
and no event loop between the clock and the wire.
"""

import json
import math
import select
import socket
import sys
import time
from dataclasses import dataclass, field

from benchmarks.plans import Caller, Plan, plan_of

_LENGTH = b"\r\ncontent-length: "
"""As uvicorn writes it. This generator must take little of the cores that it shares with what is measured."""

_WAIT = 0.01
"""Seconds that the clock is not looked at while nothing comes."""


@dataclass
class Connection:
    """One caller's."""

    caller: Caller
    socket: socket.socket
    sent_at: float = 0.0
    received: bytes = b""

    def send(self, request: bytes) -> None:
        """Send, and look at the clock."""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Return the answer's status and body, once it is whole."""
        read = self.socket.recv(65536)
        if not read:
            raise SystemExit(f"the service hung up: {self.received[:200]!r}")
        self.received += read
        head, whole, body = self.received.partition(b"\r\n\r\n")
        if not whole:
            return None
        _, named, rest = head.partition(_LENGTH)
        if not named:
            raise SystemExit(f"an answer without a length: {head!r}")
        if len(body) < int(rest.partition(b"\r\n")[0]):
            return None
        self.received = b""
        return int(head[9:12]), body


@dataclass
class Seen:
    """What came back while it was counted."""

    milliseconds: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""

    def add(self, status: int, body: bytes, seconds: float) -> None:
        """Count an answer."""
        if status == 200:
            self.milliseconds.append(seconds * 1000)
        else:
            self.errors += 1
            self.first_error = self.first_error or f"{status} {body[:300].decode(errors='replace')}"

    @property
    def answers(self) -> int:
        """How many."""
        return len(self.milliseconds) + self.errors


class Load:
    """The callers at work, on one thread."""

    def __init__(self, address: tuple[str, int], callers: int, plan: Plan) -> None:
        self._address = address
        self._callers = callers
        self._plan = plan
        self._connections: list[Connection] = []
        self._by_descriptor: dict[int, Connection] = {}
        self._epoll = select.epoll()
        self._under_way = 0
        self._ending = False
        self.seen = Seen()

    def run(self, warm_up: float, seconds: float, at_most: int) -> float:
        """Warm up, then count for so long, but one answer at least and so many at most; return how long it was."""
        began = time.perf_counter()
        # One after the other: a worker that is idle takes the next connection, so they share them evenly.
        for caller in range(self._callers):
            self._dial(caller)
            self._work(until=began + warm_up / 2 * (caller + 1) / self._callers)
        self._work(until=began + warm_up)
        self.seen = Seen()
        say("START")
        counted_from = time.perf_counter()
        self._work(until=counted_from + seconds, at_most=at_most)
        self._work(until=math.inf, at_most=1)
        took = time.perf_counter() - counted_from
        say("STOP")
        self._ending = True
        while self._under_way:
            self._turn()
        return took

    def _dial(self, caller: Caller) -> None:
        connection = Connection(caller, socket.create_connection(self._address, timeout=60))
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._epoll.register(connection.socket, select.EPOLLIN)
        self._by_descriptor[connection.socket.fileno()] = connection
        self._connections.append(connection)
        self._send(caller)

    def _work(self, until: float, at_most: int = sys.maxsize) -> None:
        while time.perf_counter() < until and self.seen.answers < at_most:
            self._turn()

    def _turn(self) -> None:
        for descriptor, _ in self._epoll.poll(_WAIT):
            connection = self._by_descriptor[descriptor]
            answer = connection.receive()
            if answer is None:
                continue
            status, body = answer
            if not self._ending:
                self.seen.add(status, body, time.perf_counter() - connection.sent_at)
            self._under_way -= 1
            for caller in self._plan.answered(connection.caller, body if status == 200 else None):
                if not self._ending:
                    self._send(caller)

    def _send(self, caller: Caller) -> None:
        self._under_way += 1
        self._connections[caller].send(self._plan.request(caller))


def say(word: str) -> None:
    """Tell whoever started this."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """Do the job on stdin."""
    job = json.load(sys.stdin)
    plan = plan_of(job["what"], job["tokens"], job["callers"])
    load = Load(("127.0.0.1", job["port"]), job["callers"], plan)
    seconds = load.run(job["warm_up"], job["seconds"], job["at_most"])
    milliseconds = sorted(load.seen.milliseconds)

    def percentile(share: float) -> float:
        return milliseconds[int((len(milliseconds) - 1) * share)] if milliseconds else 0.0

    result = {
        "seconds": seconds,
        "answers": load.seen.answers,
        "p50": percentile(0.5),
        "p99": percentile(0.99),
        "most": percentile(1),
        "errors": load.seen.errors,
        "first_error": load.seen.first_error,
        "tokens": plan.left,
    }
    say(json.dumps(result))


if __name__ == "__main__":
    main()
