"""Asking the issuer about one token (RFC 7662), for the time in which the feed is too old."""

import asyncio
import time

from sealwright._encoding import parse_object
from sealwright._errors import ConfigurationError, Unavailable
from sealwright._http import IssuerClient, Unreachable, refused

_AT_ONCE = 32  # questions to the issuer
_WAITING = 512
_REMEMBERED = 1024
_CROWD = "too many questions to /introspect wait already"
_PAUSE = 1.0  # seconds after a failure in which nobody asks: else all would wait for the same timeout


class Introspection:
    """Answers are kept for `keep` seconds, at most 1: for so long a revoked token may pass."""

    def __init__(self, client: IssuerClient, *, timeout: float, keep: float = 1.0) -> None:
        self._client = client
        self._timeout = timeout
        self._keep = min(keep, 1.0)
        self._answers: dict[bytes, tuple[float, bool]] = {}
        self._flights: dict[bytes, asyncio.Task[bool | str]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._not_before = float("-inf")
        self._failure = ""
        self.asked = 0
        self.failures = 0

    async def active(self, token: str, name: bytes) -> bool:
        """Whether the issuer says that the token is good; `name` is what it is remembered under.

        Raises:
            Unavailable: the issuer cannot be asked.

        """
        now = time.monotonic()
        kept = self._answers.get(name)
        if kept is not None and kept[0] > now:
            return kept[1]
        flight = self._flights.get(name)
        if flight is None:
            if now < self._not_before:
                raise Unavailable(self._failure)
            if len(self._flights) >= _WAITING:
                raise Unavailable(_CROWD)
            flight = asyncio.create_task(self._ask(token, name), name="sealwright introspection")
            self._flights[name] = flight
        answer = await asyncio.shield(flight)
        if isinstance(answer, str):
            raise Unavailable(answer)
        return answer

    async def close(self) -> None:
        """End the questions that are under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _ask(self, token: str, name: bytes) -> bool | str:
        try:
            async with asyncio.timeout(self._timeout):
                await self._slots.acquire()
            try:
                return await self._asked(token, name)
            finally:
                self._slots.release()
        except TimeoutError:
            return _CROWD  # the issuer is busy, not away: whoever comes next may ask
        finally:
            del self._flights[name]

    async def _asked(self, token: str, name: bytes) -> bool | str:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                active = await self._answer(token)
        except (Unreachable, ConfigurationError, TimeoutError) as failure:
            self.failures += 1
            self._not_before = time.monotonic() + _PAUSE
            self._failure = f"/introspect cannot be asked: {str(failure) or 'no answer in time'}"
            return self._failure
        if len(self._answers) >= _REMEMBERED:
            self._answers.clear()
        self._answers[name] = began + self._keep, active
        return active

    async def _answer(self, token: str) -> bool:
        url = (await self._client.endpoints()).introspection
        self.asked += 1
        form = {"token": token, "token_type_hint": "access_token"}
        reply = await self._client.send("POST", url, authenticate=True, form=form, within=self._timeout)
        refused(reply, "/introspect")
        members = parse_object(reply.body) if reply.status == 200 else None
        active = members.get("active") if members is not None else None
        if type(active) is not bool:
            raise Unreachable(f"{url} answered {reply.status} and not whether the token is active")
        return active
