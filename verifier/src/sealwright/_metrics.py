"""What a Verifier counts, and how it is."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Health:
    """How a Verifier is. Ages in seconds; infinite if there was nothing yet; `feed_age` None without the feed.

    `doing` is "verify" as long as the feed is young enough, then what was chosen for a feed that is too old.
    """

    ok: bool
    doing: Literal["verify", "introspect", "refuse", "accept"]
    keys: int
    keys_age: float
    keys_problem: str | None
    feed_age: float | None
    feed_problem: str | None
    revocations: int


@dataclass(slots=True)
class Counters:
    """Counts since the start of the process."""

    accepted: int = 0
    accepted_stale: int = 0
    remembered: int = 0
    unavailable: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    key_fetches: int = 0
    feed_answers: int = 0
    feed_failures: int = 0
    introspections: int = 0
    introspection_failures: int = 0


def prometheus(counters: Counters, health: Health) -> str:
    """Write both in the text format that Prometheus reads, version 0.0.4."""
    return "".join(f"{line}\n" for line in _lines(counters, health))


def _lines(counters: Counters, health: Health) -> Iterator[str]:
    yield from _series("tokens_total", "counter", "Tokens by what became of them.")
    yield f'sealwright_tokens_total{{outcome="accepted"}} {counters.accepted}'
    yield f'sealwright_tokens_total{{outcome="unavailable"}} {counters.unavailable}'
    for reason, count in sorted(counters.refused.items()):
        yield f'sealwright_tokens_total{{outcome="refused",reason="{reason}"}} {count}'
    for name, help_text, count in (
        ("signatures_remembered_total", "Tokens whose signature was known.", counters.remembered),
        ("accepted_stale_total", "Tokens accepted with a feed that was too old.", counters.accepted_stale),
        ("key_fetches_total", "Fetches of the JWKS.", counters.key_fetches),
        ("feed_answers_total", "Answers of the revocation feed.", counters.feed_answers),
        ("feed_failures_total", "Failures of the revocation feed.", counters.feed_failures),
        ("introspections_total", "Questions to /introspect.", counters.introspections),
        ("introspection_failures_total", "Questions without answer.", counters.introspection_failures),
    ):
        yield from _series(name, "counter", help_text)
        yield f"sealwright_{name} {count}"
    for name, help_text, value in (
        ("keys", "Keys held.", health.keys),
        ("keys_age_seconds", "Since the issuer confirmed the keys.", health.keys_age),
        ("feed_age_seconds", "Since the issuer had seen its record.", health.feed_age),
        ("revocations", "Revocations held.", health.revocations),
    ):
        if value is not None:
            yield from _series(name, "gauge", help_text)
            yield f"sealwright_{name} {'+Inf' if value == float('inf') else value}"
    yield from _series("doing", "gauge", "1 for what is done with tokens now.")
    for doing in ("verify", "introspect", "refuse", "accept"):
        yield f'sealwright_doing{{mode="{doing}"}} {int(health.doing == doing)}'


def _series(name: str, kind: str, help_text: str) -> Iterator[str]:
    yield f"# HELP sealwright_{name} {help_text}"
    yield f"# TYPE sealwright_{name} {kind}"
