"""The listener's side of the feed, as a resource service has it."""

import json
from typing import Any

Held = dict[tuple[str, str], Any]


def read(revocations: bytes) -> list[dict[str, Any]]:
    """The entries of a list in JSON without its brackets."""
    entries: list[dict[str, Any]] = json.loads(b"[" + revocations + b"]")
    return entries


def apply(held: Held, entries: list[dict[str, Any]]) -> Held:
    """Hold these entries too: the last of a subject is what counts."""
    for entry in entries:
        subject = next(
            (kind, entry[kind]) for kind in ("jti", "sid", "sub", "client_id", "kid") if kind in entry
        )
        held[subject] = entry
    return held
