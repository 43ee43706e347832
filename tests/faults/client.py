"""A client that keeps to the protocol, whatever happens: what README.md says under "What a client must do"."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from tests.faults.caller import Answered, Caller, Held
from tests.faults.history import GRACE, History
from tests.faults.library import Library
from tests.faults.plan import Step
from tests.support.actors import Person

ABANDONED = 2.5
"""Seconds after which a request that was given up ends nothing any more, even if the service does not know: one that
waited there for a second, after a pause that may have been as long before it was noticed."""

_AGAIN = 0.2
"""Seconds before what was not answered is sent again."""

_REMEMBERED = 3

Ask = Callable[[float], Awaitable[Answered]]
"""Asks with so many seconds of patience."""


class Client:
    """Signs its user in, refreshes, uses and takes back, one step after the other."""

    def __init__(
        self,
        user: Person,
        caller: Caller,
        library: Library,
        history: History,
        steps: Iterator[Step],
        *,
        until: float,
        is_patient: bool,
    ) -> None:
        self._user = user
        self._caller = caller
        self._library = library
        self._history = history
        self._steps = steps
        self._until = until
        self._is_patient = is_patient
        self._access: list[Held] = []
        self._refresh: Held | None = None
        self._dead: list[Held] = []
        self._not_before = 0.0

    async def run(self) -> None:
        """Go on until the end of the run."""
        for step in self._steps:
            await asyncio.sleep(step.pause)
            if self._history.now() >= self._until:
                return
            if self._refresh is None:
                await self._sign_in(step)
            else:
                await self._act(step, self._refresh)

    async def _act(self, step: Step, refresh: Held) -> None:
        if not self._access:  # each of them was taken back; the session goes on
            await self._exchange(step, refresh)
            return
        access = self._access[int(step.share * len(self._access))]
        match step.act:
            case "refresh":
                await self._exchange(step, refresh)
            case "introspect":
                await self._use(access, self._caller.introspect, step)
            case "me":
                await self._use(access, self._caller.me, step)
            case "verify":
                await self._use(access, self._library.verify, step)
            case "probe":
                await self._probe(step)
            case "revoke token":
                await self._take_back(access, step)
            case "revoke session":
                await self._take_back(refresh, step)
            case "sign out everywhere":
                await self._sign_out_everywhere(access, step)

    async def _sign_in(self, step: Step) -> None:
        ask = partial(self._caller.sign_in, self._user.username, str(self._user.id))
        answered = await self._until_answered(step, lambda patience: ask(patience=patience), self._until)
        if answered is not None and answered.refresh and answered.access:
            self._refresh, self._access = answered.refresh, [answered.access]

    async def _exchange(self, step: Step, refresh: Held) -> None:
        if self._is_patient:
            await asyncio.sleep(max(0.0, self._not_before - self._history.now()))
        limit = self._history.now() + GRACE
        answered = await self._until_answered(
            step, lambda patience: self._raced(step, refresh, patience), min(limit, self._until)
        )
        if answered is not None and answered.refresh and answered.access:
            self._refresh = answered.refresh
            self._access = [*self._access, answered.access][-_REMEMBERED:]
        elif answered is not None:
            self._let_go(refresh)
        elif self._history.now() >= limit:
            self._refresh = None  # nobody knows what has become of the session; the user has to sign in

    async def _raced(self, step: Step, refresh: Held, patience: float) -> Answered:
        """Send the same request so many times at once; all copies are over, or given up, when this returns."""
        began = self._history.now()
        copies = [
            asyncio.create_task(self._caller.refresh(refresh, patience=patience)) for _ in range(step.copies)
        ]
        best: Answered | None = None
        try:
            for done in asyncio.as_completed(copies):
                answered = await done
                best = answered if best is None else max(best, answered, key=_worth)
                if best.refresh is not None and step.hurry:
                    break
        finally:
            for copy in copies:
                copy.cancel()
            ended = await asyncio.gather(*copies, return_exceptions=True)
        if any(not isinstance(each, Answered) or each.call.outcome == "silent" for each in ended):
            self._not_before = began + patience + ABANDONED
        assert best is not None
        return best

    async def _use(self, access: Held, ask: Callable[..., Awaitable[Answered]], step: Step) -> None:
        answered = await ask(access, patience=step.patience)
        if answered.call.outcome == "refused":
            self._bury(access)

    async def _take_back(self, held: Held, step: Step) -> None:
        ask = partial(self._caller.revoke, held)
        answered = await self._until_answered(step, lambda patience: ask(patience=patience), self._until)
        if answered is None:
            return
        if held.token.kind == "refresh":
            self._let_go(held)
        else:
            self._bury(held)
        await asyncio.gather(*(self._look(each, step) for each in [held] * 2 + self._dead[-2:]))

    async def _sign_out_everywhere(self, access: Held, step: Step) -> None:
        answered = await self._caller.sign_out_everywhere(access, patience=step.patience)
        if answered.call.outcome == "refused":
            self._bury(access)
        elif answered.call.outcome == "done":
            self._let_go(self._refresh)
            await asyncio.gather(*(self._look(each, step) for each in self._dead[-2:]))

    async def _probe(self, step: Step) -> None:
        """Present something that is dead."""
        if self._dead:
            held = self._dead[int(step.share * len(self._dead))]
            await self._look(held, step)

    async def _look(self, held: Held, step: Step) -> None:
        if held.token.kind == "refresh":
            await self._caller.refresh(held, patience=step.patience)
        else:
            ask = (self._caller.introspect, self._caller.me, self._library.verify)[int(step.share * 997) % 3]
            await ask(held, patience=step.patience)

    def _bury(self, access: Held) -> None:
        """Use a token no more, but to see that it stays dead."""
        self._dead.append(access)
        self._access = [each for each in self._access if each is not access]

    def _let_go(self, refresh: Held | None) -> None:
        """Begin anew; what the session had is dead."""
        self._dead += [*self._access, *([refresh] if refresh else [])]
        self._access, self._refresh = [], None

    async def _until_answered(self, step: Step, ask: Ask, limit: float) -> Answered | None:
        """Send the same request again, as long as it may help; None: no answer came, or time is up."""
        while (left := limit - self._history.now()) > 0:
            answered = await ask(min(step.patience, left))
            if answered.call.outcome not in {"silent", "unavailable"}:
                return answered
            await asyncio.sleep(max(_AGAIN, answered.retry_after))
        return None


def _worth(answered: Answered) -> int:
    return ("silent", "unavailable", "failed", "refused", "done", "accepted", "issued").index(
        answered.call.outcome
    )
