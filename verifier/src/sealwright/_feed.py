"""Following the issuer's revocations: a long poll that never ends, and how old what it brought is."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from sealwright._errors import ConfigurationError
from sealwright._http import IssuerClient, Unreachable, refused
from sealwright._revocations import Answer, BadAnswer, Revocations, read_answer

log = logging.getLogger("sealwright")

MAX_HELD = 1_000_000
_MAX_BODY = 256 << 20  # bytes, unpacked: a snapshot of so many
_MARGIN = (
    5.0  # seconds that an answer may take beyond the wait that was asked for; later, it is too old to use
)
_LOAD = 25.0  # seconds more for an answer that is not waited for: it may be a snapshot
_LONGEST_WAIT = 30.0  # seconds; the issuer takes no more than 60, and proxies cut what is silent
_GATHER = 0.05  # seconds between two polls, so that a thousand revocations are not a thousand answers
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
_BIG = 1 << 18  # bytes; a larger answer is read in a thread, or requests would wait for it


@dataclass(frozen=True, slots=True)
class Heard:
    """When the last answer came, by both clocks, and how old the issuer said that its news were by then."""

    monotonic: float
    wall: float
    age: float

    def age_at(self, monotonic: float, wall: float) -> float:
        """Return the news' age in seconds, by the clock that went further: one stands still in a sleeping machine."""
        return self.age + max(monotonic - self.monotonic, wall - self.wall)


class Feed:
    """The revocations in force, followed in the background."""

    def __init__(
        self,
        client: IssuerClient,
        *,
        leeway: float,
        wait: float,
        clock: Callable[[], float],
        ban: Callable[[str], None],
    ) -> None:
        self._client = client
        self._leeway = leeway
        self._wait = min(wait, _LONGEST_WAIT)
        self._clock = clock
        self._ban = ban
        self._cursor: str | None = None
        self._heard: Heard | None = None
        self.revocations = Revocations(leeway)
        self.answers = 0
        self.failures = 0
        self.problem: str | None = "not heard yet"

    @property
    def age(self) -> float:
        """Seconds since the issuer had last seen its record, as far as is known here; infinite before the first."""
        heard = self._heard
        return float("inf") if heard is None else heard.age_at(time.monotonic(), self._clock())

    async def follow(self, heard: Callable[[ConfigurationError | None], None]) -> None:
        """Poll until cancelled; tell after every answer and every failure."""
        failed = 0
        while True:
            problem: ConfigurationError | None = None
            try:
                await self.poll()
                pause, failed = _GATHER, 0
            except Exception as failure:  # noqa: BLE001  # whatever it is: following must not end
                self.failures += 1
                if self.problem is None:
                    log.warning("the revocation feed is lost: %s", failure)
                self.problem = str(failure) or type(failure).__name__
                problem = failure if isinstance(failure, ConfigurationError) else None
                pause = min(_FIRST_PAUSE * 2**failed, _LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311  # jitter
                failed = min(failed + 1, 10)
            heard(problem)
            await asyncio.sleep(pause)

    async def poll(self) -> None:
        """Ask once: at first for everything, then for what is new, as soon as there is something.

        Raises:
            Unreachable: no answer, or none in time.
            BadAnswer: it cannot be used; nothing of it was.
            ConfigurationError: the issuer does not let this client read the feed.

        """
        if self._cursor is None:
            await self._ask(0)  # a snapshot, which the issuer may have made a moment ago,
            await self._ask(0)  # and what has come since
        else:
            await self._ask(self._wait)

    async def _ask(self, wait: float) -> None:
        url = (await self._client.endpoints()).revocations
        if self._cursor is not None:
            url = f"{url}?{urlencode({'after': self._cursor, 'wait': f'{wait:.3f}'})}"
        asked, asked_wall = time.monotonic(), self._clock()
        reply = await self._client.send(
            "GET",
            url,
            authenticate=True,
            within=wait + _MARGIN + (0 if wait else _LOAD),
            max_body=_MAX_BODY,
        )
        if reply.status != 200:
            refused(reply, "the revocation feed")
            if reply.status == 400:
                self._cursor = None  # one that this issuer does not know any more: begin anew
            raise Unreachable(f"{url.partition('?')[0]} answered {reply.status}")
        if wait and max(time.monotonic() - asked, self._clock() - asked_wall) > wait + _MARGIN:
            raise Unreachable("an answer of the feed came too late to be used")
        heard = time.monotonic(), self._clock()
        issuer = self._client.location.issuer
        if len(reply.body) > _BIG:
            answer, then = await asyncio.to_thread(self._read, reply.body, issuer)
        else:
            answer, then = self._read(reply.body, issuer)
        # What was not waited for is as old as its question: a large answer may have been long on its way.
        self._take(answer, then, Heard(*(heard if wait else (asked, asked_wall)), answer.age))
        if wait and not answer.revocations and heard[0] - asked < wait / 2:
            await asyncio.sleep(
                min(1.0, wait / 2)
            )  # an issuer that does not wait must not be asked without end

    def take(self, answer: Answer) -> None:
        """Take an answer over that has just come.

        Raises:
            BadAnswer: there are more revocations than can be held.

        """
        heard = Heard(time.monotonic(), self._clock(), answer.age)
        self._take(answer, self._then(answer), heard)

    def _read(self, body: bytes, issuer: str) -> tuple[Answer, Revocations]:
        answer = read_answer(body, issuer)
        if self._cursor is None and not answer.snapshot:
            raise BadAnswer("the feed began with changes and not with a snapshot")
        return answer, self._then(answer)

    def _then(self, answer: Answer) -> Revocations:
        """Return what is in force after an answer: what is held and more, or a snapshot's entries alone."""
        then = Revocations(self._leeway) if answer.snapshot else self.revocations
        if len(then) + len(answer.revocations) > MAX_HELD:
            raise BadAnswer(f"more than {MAX_HELD} revocations are in force")
        then.put(answer.revocations)
        return then

    def _take(self, answer: Answer, then: Revocations, heard: Heard) -> None:
        self.revocations = then  # a snapshot in one step
        # By both clocks: what is dropped is never told again, and ours may have been wrong for a while.
        self.revocations.sweep(min(heard.wall, answer.now))
        for entry in answer.revocations:
            if entry.kind == "kid":
                self._ban(entry.subject)
        self._cursor, self._heard = answer.cursor, heard
        self.answers += 1
        if self.problem is not None:
            log.info("the revocation feed is followed: %d in force", len(self.revocations))
        self.problem = None
