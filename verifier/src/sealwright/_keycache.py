"""The issuer's public keys, fetched ahead of need and kept through an outage."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sealwright._errors import Unavailable
from sealwright._keys import Key, KeySet

_MAX_KID = 256
_MAX_UNKNOWN = 1024
_MAX_WAITING = 1000
_UNKNOWN_FOR = 10.0  # seconds; a kid that appears meanwhile is found all the same, by the next fetch
_LONGEST_PAUSE = 30.0
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A JWKS as it was answered; `keys` None: the one held is still it (304). `max_age` in seconds."""

    keys: KeySet | None
    max_age: float | None
    etag: str | None


class FetchFailed(Exception):
    """The keys could not be fetched; the text says why and may be logged."""


Fetch = Callable[[str | None], Awaitable[Fetched]]
"""Fetches the JWKS, given the ETag of the one held; raises FetchFailed or InvalidKey."""


class KeyCache:
    """Keys by `kid`. However many ask, at most one fetch runs, and at most one begins in `pause` seconds.

    After a failure the pause doubles, up to 30 s. `max_age` bounds what the JWKS's own Cache-Control may say.
    """

    def __init__(self, fetch: Fetch, *, max_age: float, pause: float) -> None:
        self._fetch = fetch
        self._max_age = max_age
        self._pause = pause
        self._keys = KeySet()
        self._etag: str | None = None
        self._banned: set[str] = set()
        self._unknown: dict[str, float] = {}
        self._waiting = 0
        self._flight: asyncio.Task[None] | None = None
        self._began = float("-inf")  # the last fetch that succeeded
        self._not_before = float("-inf")
        self._due = float("-inf")
        self._failures = 0
        self._fetched_at: float | None = None
        self.fetches = 0
        self.problem: str | None = "not fetched yet"

    @property
    def keys(self) -> KeySet:
        """The keys to verify with. A key that is unchanged is the same object after a fetch."""
        return self._keys

    @property
    def age(self) -> float:
        """Seconds since the issuer last confirmed them."""
        return float("inf") if self._fetched_at is None else time.monotonic() - self._fetched_at

    def ban(self, kid: str) -> None:
        """Drop a compromised key for good: no JWKS brings it back."""
        if kid not in self._banned:
            self._banned.add(kid)
            self._take(self._keys)

    def is_banned(self, kid: str) -> bool:
        """Whether this key was compromised."""
        return kid in self._banned

    async def find(self, kid: str) -> None:
        """Look for a key that is not held. After this, `keys` has it, or there is no such key.

        Only a fetch that begins after the question settles it: a key is published before anything is signed
        with it. A kid that was not found is remembered, so that asking for it again costs nothing.

        Raises:
            Unavailable: the issuer cannot be asked now.

        """
        asked = time.monotonic()
        if len(kid) > _MAX_KID or kid in self._banned or self._unknown.get(kid, asked) > asked:
            return
        if self._waiting >= _MAX_WAITING:
            raise Unavailable("too many requests wait for keys that are not known")
        self._waiting += 1
        try:
            while kid not in self._keys and self._began < asked:
                await self.refresh()
                if self.problem is not None:
                    raise Unavailable(f"the keys could not be fetched: {self.problem}", retry_after=2)
        finally:
            self._waiting -= 1
        if kid not in self._keys:
            if len(self._unknown) >= _MAX_UNKNOWN:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[kid] = time.monotonic() + _UNKNOWN_FOR

    async def follow(self) -> None:
        """Fetch, and fetch again before the keys are too old, until cancelled."""
        while True:
            delay = self._due - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            else:
                await self.refresh()

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    async def refresh(self) -> None:
        """Fetch, together with all who ask for it now; `problem` says afterwards why not, if not."""
        now = time.monotonic()
        if self._flight is None:
            if self.problem is not None and now < self._not_before:
                return  # failed a moment ago: the same answer, without asking again
            self._flight = asyncio.create_task(self._fly(), name="sealwright keys")
        # Whoever gives up does not take the fetch away from the others.
        await asyncio.shield(self._flight)

    async def _fly(self) -> None:
        try:
            # Whoever comes during the pause is served by the one fetch after it.
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            began = time.monotonic()
            self.fetches += 1
            try:
                fetched = await self._fetch(self._etag)
            except Exception as failure:  # noqa: BLE001  # whatever it is, the last good keys stay and it is tried again
                self._failures += 1
                pause = min(self._pause * 2 ** min(self._failures, 10), _LONGEST_PAUSE)
                self._not_before = self._due = time.monotonic() + pause * random.uniform(0.5, 1)  # noqa: S311  # jitter
                self.problem = str(failure) or type(failure).__name__
                return
            if fetched.keys is not None:
                self._take(fetched.keys)
                self._etag = fetched.etag
            self._failures, self.problem = 0, None
            self._began = self._fetched_at = began
            lifetime = min(self._max_age, self._max_age if fetched.max_age is None else fetched.max_age)
            now = time.monotonic()
            self._not_before = now + self._pause
            # Ahead of need, and not all services of a fleet in the same moment.
            self._due = now + max(self._pause, lifetime * random.uniform(0.6, 0.8))  # noqa: S311  # jitter
        finally:
            self._flight = None

    def _take(self, keys: KeySet) -> None:
        self._keys = KeySet(self._kept(key) for key in keys.values() if key.kid not in self._banned)

    def _kept(self, key: Key) -> Key:
        held = self._keys.get(key.kid)
        return held if held == key else key


def max_age_of(cache_control: str | None) -> float | None:
    """Return the max-age of a Cache-Control header (RFC 9111 5.2.2.1) in seconds, if it has one."""
    found = _MAX_AGE.search(cache_control or "")
    return float(found[1]) if found else None
