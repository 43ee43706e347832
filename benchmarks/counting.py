"""How many statements and Redis calls a request takes, counted where they arrive."""

import re
import secrets
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.client import Monitor

from benchmarks.driving import Measured
from benchmarks.measuring import Bench
from benchmarks.meters import Meter, Reading
from benchmarks.operations import OPERATIONS
from benchmarks.stack import Stack
from tests.support.deployment import on_server

STATEMENTS, CALLS = "Postgres statements", "Redis calls"

_STATEMENT = re.compile(r"LOG:  (?:execute [^:]*|statement): (.*(?:\n\t.*)*)")

IDLE = 2.0
"""Seconds that the service is watched while nobody asks: it looks at Postgres and Redis by itself, too."""


def counts(bench: Bench, names: Collection[str]) -> dict[str, dict[str, float]]:
    """Return what each of these operations takes, less what the service does by itself, to one decimal."""
    with _counted(bench.stack) as meter:
        before = meter()
        time.sleep(IDLE)
        idle = {what: (count - before.get(what, 0)) / IDLE for what, count in meter().items()}
        return {
            operation.name: _kinds(bench.run(operation, meter, bench.seconds * operation.weight), idle)
            for operation in OPERATIONS
            if operation.name in names
        }


def _kinds(done: Measured, idle: Reading) -> dict[str, float]:
    by_itself = done.seconds / done.answers
    each = {what: max(0.0, value - idle.get(what, 0) * by_itself) for what, value in done.each.items()}
    return {
        kind: round(sum(value for what, value in each.items() if what.startswith(kind)), 1)
        for kind in (STATEMENTS, CALLS)
    }


@contextmanager
def _counted(stack: Stack) -> Iterator[Meter]:
    url = stack.servers.database_url
    with Redis.from_url(stack.servers.redis_url) as redis, redis.monitor() as monitor:
        on_server(url, "ALTER SYSTEM SET log_statement = 'all'")
        on_server(url, "SELECT pg_reload_conf()")
        try:
            yield _asked(stack.folder / "data" / "postgres.log", redis, monitor)
        finally:
            on_server(url, "ALTER SYSTEM RESET log_statement")
            on_server(url, "SELECT pg_reload_conf()")


def _asked(log: Path, redis: Redis, monitor: Monitor) -> Meter:
    calls: Counter[str] = Counter()

    def read() -> Reading:
        # Redis tells of all calls in their order, so of those before this one.
        marker = secrets.token_hex(8)
        redis.echo(marker)
        for call in monitor.listen():  # type: ignore[no-untyped-call]  # redis-py has no types here
            if marker in call["command"]:
                break
            if call["client_type"] != "lua":  # what a script does is no call of its own
                calls[f"{CALLS}: {call['command'].split()[0]}"] += 1
        return calls + Counter(f"{STATEMENTS}: {text}" for text in _STATEMENT.findall(log.read_text()))

    return read
