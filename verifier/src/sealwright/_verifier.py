"""What a resource service holds: the issuer's keys, its revocations, and what it expects of every token."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, get_args

import httpx2

from sealwright._claims import Claims
from sealwright._discovery import Location
from sealwright._errors import ConfigurationError, InvalidKey, InvalidToken, Unavailable
from sealwright._feed import Feed
from sealwright._http import IssuerClient, Reply, Unreachable
from sealwright._introspection import Introspection
from sealwright._jws import MAX_LENGTH, key_id
from sealwright._keycache import Fetched, FetchFailed, KeyCache, max_age_of
from sealwright._keys import Algorithm, KeySet
from sealwright._metrics import Counters, Health, prometheus
from sealwright._signatures import Signatures, Signed
from sealwright._verify import Expectations, check_times, verify

log = logging.getLogger("sealwright")

Stale = Literal["introspect", "refuse", "accept"]
"""What becomes of a good token while the feed is too old."""

_NOT_STARTED = "start the Verifier first: `async with verifier`, or a lifespan"


class UnknownKey(InvalidToken):
    """No key that is held goes by the token's kid. `await authenticate()` looks whether there is one by now."""

    def __init__(self, kid: str) -> None:
        super().__init__("unknown_key", "no key goes by this kid")
        self.kid = kid


class FeedStale(Unavailable):
    """The token is genuine and in time, but the revocations are too old to tell whether it was taken back."""

    def __init__(self, claims: Claims, detail: str) -> None:
        super().__init__(detail)
        self.claims = claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be left as it is; times in seconds.

    `max_feed_age`: how old the revocations may grow before `stale` decides. `key_max_age`: how old the keys
    may grow before they are fetched again, if the JWKS does not say less. `key_pause`: between two fetches of
    keys. `timeout`: of one question to the issuer. `introspect_timeout`: of /introspect, and before it of
    waiting for a turn. `signatures`: how many tokens are remembered, so that only their first verification
    costs a signature; 0 turns it off.
    """

    algorithms: tuple[Algorithm, ...] = ("RS256",)
    leeway: float = 5
    max_feed_age: float = 30
    key_max_age: float = 300
    key_pause: float = 1
    timeout: float = 5
    introspect_timeout: float = 2
    signatures: int = 10_000

    def __post_init__(self) -> None:
        for name in ("max_feed_age", "key_max_age", "key_pause", "timeout", "introspect_timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name} must be more than 0 seconds")
        if self.signatures < 0:
            raise ConfigurationError("signatures must be 0 or more")


class Verifier:
    """Tells whether an access token is good, and keeps what that takes current in the background.

    `issuer` is the `iss` of its tokens; `internal_url` the address that it is reached at, if that is another.
    `audience` is the URI that this resource is registered by; `client_id` and `client_secret` are its client's.
    `revocations=False` does without the feed: a revoked token is then good until it expires.

    Use it as `async with Verifier(…) as verifier`, or `await start()` and `await close()`, under asyncio.

    Raises:
        ConfigurationError: a setting is missing or cannot have been meant.

    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        internal_url: str | None = None,
        revocations: bool = True,
        stale: Stale = "introspect",
        options: Options | None = None,
        tls: ssl.SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        options = options or Options()
        if stale not in get_args(Stale):
            raise ConfigurationError(f"stale must be one of {', '.join(get_args(Stale))}")
        if revocations and not (client_id and client_secret):
            raise ConfigurationError(
                "set client_id and client_secret, to follow the revocations; or revocations=False, to let a"
                " revoked token pass until it expires"
            )
        if not audience:
            # None would let every token of the issuer's pass (RFC 9068 4): an unset variable must not do that.
            raise ConfigurationError("set audience to the URI that this resource is registered by")
        try:
            self._expect = Expectations(
                issuer=issuer,
                audience=audience,
                algorithms=options.algorithms,
                leeway=options.leeway,
                typ="at+jwt",
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self.location = Location(issuer, internal_url)
        self.audience = audience
        self._credentials = (client_id, client_secret) if client_id and client_secret else None
        self._follows = revocations
        self._stale: Stale = stale
        self._options = options
        self._tls = tls
        self._transport = transport
        self._clock = clock
        self._keys = KeyCache(self._fetch_keys, max_age=options.key_max_age, pause=options.key_pause)
        self._signatures = Signatures(options.signatures)
        self._counters = Counters()
        self._misconfigured: ConfigurationError | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._client: IssuerClient | None = None
        self._feed: Feed | None = None
        self._introspection: Introspection | None = None

    # Its life

    async def start(self) -> None:
        """Fetch the keys and the revocations, and keep both current until `close`.

        An issuer that cannot be reached is no error: the service starts, and tokens get what `stale` says.

        Raises:
            ConfigurationError: the issuer was reached, and a setting does not fit it.
            RuntimeError: it has been started already.

        """
        if self._client is not None:
            raise RuntimeError("this Verifier has been started already")
        options = self._options
        self._misconfigured = None
        self._client = IssuerClient(
            self.location,
            credentials=self._credentials,
            timeout=options.timeout,
            transport=self._transport,
            tls=self._tls,
        )
        first = [asyncio.Event()]
        self._spawn(self._follow_keys(first[0]), "sealwright keys")
        if self._follows:
            heard = asyncio.Event()
            first.append(heard)
            self._introspection = Introspection(self._client, timeout=options.introspect_timeout)
            self._feed = Feed(
                self._client,
                leeway=options.leeway,
                wait=options.max_feed_age / 3,
                clock=self._clock,
                ban=self._keys.ban,
            )
            self._spawn(self._follow_feed(self._feed, heard), "sealwright revocations")
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * options.timeout):
                    for event in first:
                        await event.wait()
            self._check_settings()
        except (ConfigurationError, asyncio.CancelledError):
            await self.close()
            raise

    def _check_settings(self) -> None:
        if self._misconfigured is not None:
            raise self._misconfigured

    async def close(self) -> None:
        """Stop following, and close the connections. It can be started again."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._keys.close()
        if self._introspection is not None:
            await self._introspection.close()
        if self._client is not None:
            await self._client.close()
        self._client = self._feed = self._introspection = None

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Its answers

    def verify(self, token: str) -> Claims:
        """Return the claims of a good token: pure CPU, no call, nothing awaited.

        Raises:
            UnknownKey: an InvalidToken; the key may be new. `authenticate` would look.
            InvalidToken: the token is bad, or has been revoked (`reason` is then `revoked`).
            FeedStale: an Unavailable; the token is good but for revocations that may have been missed.
            Unavailable: there are no keys yet.

        """
        try:
            claims = self._verify(token)
        except InvalidToken as refused:
            if isinstance(refused, UnknownKey) and self._keys.age == float("inf"):
                self._counters.unavailable += 1
                raise Unavailable(f"there are no keys yet: {self._keys.problem}") from None
            self._counters.refused[refused.reason] += 1
            raise
        self._counters.accepted += 1
        return claims

    async def authenticate(self, token: str) -> Claims:
        """Return the claims of a good token; asks the issuer where `verify` alone cannot tell.

        That is: for a token signed by a new key, and, if `stale` is "introspect", while the feed is too old.

        Raises:
            InvalidToken: the token is bad, or has been revoked.
            Unavailable: it cannot be told now; answer 503.

        """
        if self._client is None:
            raise RuntimeError(_NOT_STARTED)
        try:
            try:
                claims = self._verify(token)
            except UnknownKey as unknown:
                await self._keys.find(unknown.kid)
                claims = self._verify(token)
        except InvalidToken as refused:
            self._counters.refused[refused.reason] += 1
            raise
        except FeedStale as stale:
            claims = await self._introspected(token, stale)
        except Unavailable:
            self._counters.unavailable += 1
            raise
        self._counters.accepted += 1
        return claims

    async def ask_for_token(self, form: Mapping[str, str], authorization: str) -> Reply:
        """Hand a request for a token on to the issuer: for the OpenAPI page, in development.

        Raises:
            Unavailable: the issuer cannot be reached.

        """
        if self._client is None:
            raise RuntimeError(_NOT_STARTED)
        headers = {"Authorization": authorization} if authorization else None
        try:
            return await self._client.send("POST", f"{self.location.base}/token", headers=headers, form=form)
        except Unreachable as error:
            raise Unavailable(str(error)) from None

    def health(self) -> Health:
        """Return how old the keys and the revocations are, and what is done about it."""
        feed = self._feed
        age = float("inf") if feed is None else feed.age
        follows = self._follows
        stale = follows and age > self._options.max_feed_age
        return Health(
            ok=bool(self._keys.keys) and not stale,
            doing=self._stale if stale else "verify",
            keys=len(self._keys.keys),
            keys_age=self._keys.age,
            keys_problem=self._keys.problem,
            feed_age=age if follows else None,
            feed_problem=(feed.problem if feed is not None else "not started") if follows else None,
            revocations=0 if feed is None else len(feed.revocations),
        )

    def metrics(self) -> str:
        """Return the same and what has been counted, as Prometheus reads it (text format 0.0.4)."""
        counters, feed, introspection = self._counters, self._feed, self._introspection
        counters.key_fetches = self._keys.fetches
        if feed is not None:
            counters.feed_answers, counters.feed_failures = feed.answers, feed.failures
        if introspection is not None:
            counters.introspections = introspection.asked
            counters.introspection_failures = introspection.failures
        return prometheus(counters, self.health())

    # How

    def _verify(self, token: str) -> Claims:
        now = self._clock()
        if len(token) > MAX_LENGTH or not token.isascii():
            return verify(token, self._keys.keys, self._expect, now=now)  # raises
        name = Signatures.name(token.encode("ascii"))
        signed = self._signatures.get(name)
        keys = self._keys.keys
        if signed is not None and keys.get(signed.key.kid) is signed.key:
            check_times(signed.claims, now=now, leeway=self._expect.leeway)
            self._counters.remembered += 1
        else:
            signed = self._first(token, keys, now)
            self._signatures.put(name, signed)
        self._check_revocations(signed.claims)
        return signed.claims

    def _first(self, token: str, keys: KeySet, now: float) -> Signed:
        try:
            claims = verify(token, keys, self._expect, now=now)
        except InvalidToken as refused:
            if refused.reason != "unknown_key":
                raise
            kid = key_id(token)
            if self._keys.is_banned(kid):
                raise InvalidToken("revoked", "its key was compromised") from None
            raise UnknownKey(kid) from None
        return Signed(claims, keys[claims.kid])

    def _check_revocations(self, claims: Claims) -> None:
        if not self._follows:
            return
        feed = self._feed
        if feed is None:
            raise FeedStale(claims, "the Verifier has not been started")
        # What is known to be revoked is refused, however old the feed.
        if feed.revocations.kill(claims):
            raise InvalidToken("revoked", "it was taken back")
        if feed.age > self._options.max_feed_age:
            if self._stale == "accept":
                self._counters.accepted_stale += 1
                return
            problem = feed.problem or "the issuer has not seen its own record for long"
            raise FeedStale(claims, f"the revocations are too old: {problem}")

    async def _introspected(self, token: str, stale: FeedStale) -> Claims:
        if self._stale == "refuse" or self._introspection is None:
            self._counters.unavailable += 1
            raise stale
        try:
            active = await self._introspection.active(token, Signatures.name(token.encode("ascii")))
        except Unavailable:
            self._counters.unavailable += 1
            raise
        if not active:
            self._counters.refused["revoked"] += 1
            raise InvalidToken("revoked", "the issuer says that it is not active") from None
        return stale.claims

    async def _fetch_keys(self, etag: str | None) -> Fetched:
        assert self._client is not None
        try:
            url = (await self._client.endpoints()).jwks
            reply = await self._client.send("GET", url, headers={"If-None-Match": etag} if etag else None)
        except ConfigurationError as error:
            self._misconfigured = error
            raise FetchFailed(str(error)) from None
        except Unreachable as error:
            raise FetchFailed(str(error)) from None
        max_age = max_age_of(reply.headers.get("cache-control"))
        if reply.status == 304 and etag:
            return Fetched(None, max_age, etag)
        if reply.status != 200:
            raise FetchFailed(f"{url} answered {reply.status}")
        keys = KeySet.from_jwks(reply.body)
        if not keys:
            # An issuer without keys is broken; the last good ones stay.
            raise InvalidKey(f"{url} has no key that can be used here")
        return Fetched(keys, max_age, reply.headers.get("etag"))

    async def _follow_keys(self, first: asyncio.Event) -> None:
        await self._keys.refresh()
        first.set()
        await self._keys.follow()

    async def _follow_feed(self, feed: Feed, first: asyncio.Event) -> None:
        def heard(problem: ConfigurationError | None) -> None:
            if problem is not None:
                self._misconfigured = problem
            first.set()

        await feed.follow(heard)
