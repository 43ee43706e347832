"""Access tokens for a program that calls others: fetched, kept, renewed ahead of need and put on requests."""

import asyncio
import importlib
import inspect
import logging
import random
import re
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote_plus

import httpx2

from sealwright._discovery import Location
from sealwright._encoding import parse_object
from sealwright._errors import Unavailable

log = logging.getLogger("sealwright")

_AHEAD = (0.7, 0.9)  # of its lifetime: where between them, each token draws for itself
_MARGIN = 5.0  # seconds before its end in which a token is not sent any more
_TRIES = 4
_PAUSE = 0.5  # seconds; doubles: all tries are over long before the issuer's grace period of 30 s
_AFTER_FAILURE = 2.0  # seconds until the next attempt to renew ahead of need
_YOUNG = 2.0  # seconds: a token refused so soon is not the reason, and fetching on would be a storm
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_INVALID_TOKEN = re.compile(r'error="?invalid_token')


class TokenRefused(Exception):
    """The issuer refuses to give a token: `error` is its code (RFC 6749 5.2), such as `invalid_grant`."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}" if description else error)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True, repr=False)
class _Held:
    """An access token; times on the monotonic clock."""

    access_token: str
    since: float
    renew_at: float
    over_at: float


@dataclass(frozen=True, slots=True, repr=False)
class _Answer:
    held: _Held
    refresh_token: str | None


class TokenSource(httpx2.Auth):
    """Gives `httpx2.AsyncClient(auth=source)` and `httpx2.Client(auth=source)` a good access token for each request.

    As `client_credentials`, or with `refresh_token` for that session. However many requests need one, one
    question is asked; renewing begins at 70 to 90 % of a token's life, while the old one is still sent.
    A request that is answered 401 `invalid_token` is sent once more, with a new token.

    A refresh token changes with each use. The new one is held, and given to `on_rotation` to be stored, before
    its access token is used; if that raises, the request does, and the same one is given again before another
    is asked for: what is stored is never more than one behind. Where an answer was lost, the same refresh token is
    sent again, which Sealwright answers with the same successor for a while (30 s by default); so keep `timeout`,
    in seconds and of each of four tries, far below that.

    `client_secret` may be a function that returns the present one; None for a public client. Asynchronous
    requests have to come from one event loop, synchronous ones may come from any thread.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str | Callable[[], str] | None,
        *,
        issuer: str,
        internal_url: str | None = None,
        scope: Sequence[str] = (),
        resource: Sequence[str] = (),
        refresh_token: str | None = None,
        on_rotation: Callable[[str], Awaitable[None] | None] | None = None,
        timeout: float = 5,
        tls: ssl.SSLContext | None = None,
        transport: Any = None,
    ) -> None:
        if isinstance(scope, str) or isinstance(resource, str):
            raise TypeError('scope and resource are sequences: scope=["orders:read"]')
        self._url = f"{Location(issuer, internal_url).base}/token"
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._resource = resource
        self._refresh_token = refresh_token
        self._on_rotation = on_rotation
        self._unstored: str | None = None
        self._timeout = timeout
        self._http: dict[str, Any] = {
            "timeout": timeout,
            "verify": True if tls is None else tls,
            "transport": transport,
            "follow_redirects": False,
        }
        self._held: _Held | None = None
        self._not_before = float("-inf")
        self._async_client: httpx2.AsyncClient | None = None
        self._flight: asyncio.Task[_Held] | None = None
        self._client: httpx2.Client | None = None
        self._lock = threading.Lock()

    # Asynchronous

    async def token(self) -> str:
        """Return an access token that is good for some seconds at least.

        Raises:
            TokenRefused: the issuer says no.
            Unavailable: it cannot be asked, and there is no token left.

        """
        held, now = self._held, time.monotonic()
        if held is None or now >= held.over_at:
            return (await self._renewed()).access_token
        if now >= max(held.renew_at, self._not_before):
            self._renewing()  # ahead of need: nobody waits for it
        return held.access_token

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Put a token on a request; once more if it was refused."""
        token = await self.token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if _refused(response) and _can_be_repeated(request) and self._drop(token):
            request.headers["Authorization"] = f"Bearer {await self.token()}"
            yield request

    async def aclose(self) -> None:
        """Close what asynchronous requests have opened, after a renewal that is under way."""
        if self._flight is not None:
            await asyncio.wait([self._flight])
        if self._async_client is not None:
            await self._async_client.aclose()
            self._async_client = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _renewing(self) -> asyncio.Task[_Held]:
        if self._flight is None:
            self._flight = asyncio.create_task(self._renew(), name="sealwright token")
            self._flight.add_done_callback(self._landed)
        return self._flight

    def _landed(self, flight: asyncio.Task[_Held]) -> None:
        self._flight = None
        if not flight.cancelled() and (failure := flight.exception()) is not None:
            self._failed(failure)

    async def _renewed(self) -> _Held:
        # Shielded: a rotated refresh token must not be lost because one request was given up.
        return await asyncio.shield(self._renewing())

    async def _renew(self) -> _Held:
        await self._store()
        if self._async_client is None:
            self._async_client = httpx2.AsyncClient(**self._http)
        answer = None
        for pause in _pauses():
            await asyncio.sleep(pause)
            form, headers = self._question()
            try:
                async with asyncio.timeout(self._timeout):
                    answer = _read(await self._async_client.post(self._url, data=form, headers=headers))
            except (httpx2.HTTPError, TimeoutError) as error:
                answer = f"{self._url}: {type(error).__name__}"
            if isinstance(answer, _Answer):
                break
        held = self._take(answer)
        await self._store()
        self._held = held
        return held

    async def _store(self) -> None:
        if self._unstored is not None and self._on_rotation is not None:
            stored = self._on_rotation(self._unstored)
            if inspect.isawaitable(stored):
                await stored
        self._unstored = None

    # Synchronous

    def blocking_token(self) -> str:
        """Return the same as `token`, from any thread.

        Raises:
            TokenRefused: the issuer says no.
            Unavailable: it cannot be asked, and there is no token left.

        """
        held, now = self._held, time.monotonic()
        if held is not None and now < held.over_at:
            if now >= max(held.renew_at, self._not_before) and self._lock.acquire(blocking=False):
                try:
                    return self._renew_now().access_token
                except (TokenRefused, Unavailable) as failure:
                    self._failed(failure)
                finally:
                    self._lock.release()
            return held.access_token
        with self._lock:
            if self._held is not None and self._held is not held:
                return self._held.access_token  # another thread was faster
            return self._renew_now().access_token

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Put a token on a request; once more if it was refused."""
        token = self.blocking_token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if _refused(response) and _can_be_repeated(request) and self._drop(token):
            request.headers["Authorization"] = f"Bearer {self.blocking_token()}"
            yield request

    def close(self) -> None:
        """Close what synchronous requests have opened."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _renew_now(self) -> _Held:
        self._store_now()
        if self._client is None:
            self._client = httpx2.Client(**self._http)
        answer = None
        for pause in _pauses():
            time.sleep(pause)
            form, headers = self._question()
            try:
                answer = _read(self._client.post(self._url, data=form, headers=headers))
            except httpx2.HTTPError as error:
                answer = f"{self._url}: {type(error).__name__}"
            if isinstance(answer, _Answer):
                break
        held = self._take(answer)
        self._store_now()
        self._held = held
        return held

    def _store_now(self) -> None:
        if self._unstored is not None and self._on_rotation is not None:
            stored = self._on_rotation(self._unstored)
            if inspect.isawaitable(stored):
                if inspect.iscoroutine(stored):
                    stored.close()
                raise TypeError("on_rotation must not be a coroutine function where requests are synchronous")
        self._unstored = None

    # Both

    def for_httpx(self) -> Any:
        """Return it as auth for httpx, the library before httpx2, which has to be installed."""
        return type("TokenSource", (importlib.import_module("httpx").Auth,), {
            "sync_auth_flow": lambda _, request: self.sync_auth_flow(request),
            "async_auth_flow": lambda _, request: self.async_auth_flow(request),
        })()  # fmt: skip

    def __repr__(self) -> str:
        return f"TokenSource({self._client_id!r}, {self._url!r})"

    def _question(self) -> tuple[dict[str, object], dict[str, str]]:
        form: dict[str, object] = {"grant_type": "client_credentials"}
        if self._refresh_token is not None:
            form = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        if self._scope:
            form["scope"] = " ".join(self._scope)
        if self._resource:
            form["resource"] = list(self._resource)  # RFC 8707: repeated
        secret = self._client_secret() if callable(self._client_secret) else self._client_secret
        if secret is None:
            return form | {"client_id": self._client_id}, {}
        basic = httpx2.BasicAuth(quote_plus(self._client_id), quote_plus(secret))  # RFC 6749 2.3.1
        return form, {"Authorization": basic._auth_header}  # noqa: SLF001

    def _take(self, answer: _Answer | str | None) -> _Held:
        if not isinstance(answer, _Answer):
            raise Unavailable(f"no token: {answer}")
        if answer.refresh_token is not None and answer.refresh_token != self._refresh_token:
            self._refresh_token = self._unstored = answer.refresh_token
        return answer.held

    def _drop(self, access_token: str) -> bool:
        """Forget a token that was refused; whether another one may fare better."""
        held = self._held
        if held is None or held.access_token != access_token:
            return True
        if time.monotonic() - held.since < _YOUNG:
            return False
        self._held = None
        return True

    def _failed(self, failure: BaseException) -> None:
        self._not_before = time.monotonic() + _AFTER_FAILURE * random.uniform(0.5, 1)  # noqa: S311  # jitter
        log.warning("an access token could not be renewed: %s", failure)


def _read(response: httpx2.Response) -> _Answer | str:
    members = parse_object(response.content) or {}
    match members:
        case {"access_token": str(token), "expires_in": int(lifetime)} if response.status_code == 200:
            refresh_token = members.get("refresh_token")
            now = time.monotonic()
            held = _Held(
                token,
                now,
                now + lifetime * random.uniform(*_AHEAD),  # noqa: S311  # so that a fleet does not ask at once
                now + max(lifetime - _MARGIN, lifetime / 2),
            )
            return _Answer(held, refresh_token if isinstance(refresh_token, str) else None)
        case {"error": str(error)} if response.status_code not in _TRANSIENT:
            raise TokenRefused(error, str(members.get("error_description", "")))
    return f"{response.url.copy_with(query=None)} answered {response.status_code}"


def _pauses() -> Sequence[float]:
    return (0.0, *(_PAUSE * 2**n * random.uniform(0.5, 1) for n in range(_TRIES - 1)))  # noqa: S311  # jitter


def _refused(response: httpx2.Response) -> bool:
    if response.status_code != 401:
        return False
    return _INVALID_TOKEN.search(response.headers.get("WWW-Authenticate", "")) is not None


def _can_be_repeated(request: httpx2.Request) -> bool:
    try:
        return request.content is not None
    except RuntimeError:  # its body was a stream, and is gone
        return False
