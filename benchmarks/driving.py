"""Setting the generator on a server, and reading the meters at its beginning and its end."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.meters import Meter, Reading

CONNECTIONS = 16


@dataclass(frozen=True)
class Job:
    """What to send: the same request again and again, or refresh tokens to rotate."""

    what: dict[str, str]
    tokens: Sequence[str] = ()

    @classmethod
    def of(cls, request: bytes) -> "Job":
        """Send this again and again."""
        return cls({"plan": "repetition", "request": request.decode()})

    @classmethod
    def refreshing(cls, tokens: Sequence[str], plan: Literal["rotation", "crowd"] = "rotation") -> "Job":
        """Rotate these, each in its turn; or each by all callers at once."""
        return cls({"plan": plan, "path": "/refresh"}, tokens)


@dataclass(frozen=True)
class Measured:
    """What came of it. Times are in milliseconds."""

    seconds: float
    answers: int
    p50: float
    p99: float
    most: float
    tokens: list[str]
    each: Reading
    """What the meter read, an answer."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def drive(
    port: int,
    job: Job,
    meter: Meter,
    *,
    seconds: float,
    callers: int = CONNECTIONS,
    at_most: int = sys.maxsize,
    warm_up: float = 0.4,
) -> Measured:
    """Put a server under load.

    Raises:
        SystemExit: the generator gave up, or an answer was no 200: what is refused costs less, and proves nothing.
    """
    task = {
        "what": job.what,
        "tokens": list(job.tokens),
        "port": port,
        "callers": callers,
        "warm_up": warm_up,
        "seconds": seconds,
        "at_most": at_most,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.generator"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(task))
        process.stdin.close()
        readings = []
        for word in ("START", "STOP"):
            if process.stdout.readline().strip() != word:
                raise SystemExit("the generator gave up; see above")
            readings.append(meter())
        seen: dict[str, Any] = json.loads(process.stdout.readline())
    if seen["errors"]:
        raise SystemExit(f"{seen['errors']} of {seen['answers']} answers were errors: {seen['first_error']}")
    answers = seen["answers"]
    before, after = readings
    return Measured(
        **{name: seen[name] for name in ("seconds", "answers", "p50", "p99", "most")},
        tokens=seen["tokens"],
        each={name: (after[name] - before.get(name, 0)) / answers for name in after},
    )
