"""One worker's share in looking after the ring: its report, and whatever is due, if it is its turn."""

import logging
import time
from datetime import UTC, datetime
from uuid import uuid4

from service import audit
from service.background import Background
from service.database import Database
from service.errors import Unavailable
from service.keeping import compromise
from service.revocation import Revocations
from service.settings import Settings
from service.signing import KeyRingError, KeyRingWatcher, Policy, Store, changes, replicas, rules

_log = logging.getLogger("sealwright")


class Keeper:
    """Reports, and keeps the ring when it is this worker's turn. While Postgres is away, it waits."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        revocations: Revocations,
        store: Store,
        keys: KeyRingWatcher,
    ) -> None:
        self._settings = settings
        self._policy = Policy.of(settings)
        self._database = database
        self._revocations = revocations
        self._store = store
        self._keys = keys
        self._worker = uuid4()
        self._look = settings.key_watch_interval.total_seconds()
        self._silence = settings.key_watch_interval * rules.LOOKS_ALIVE
        self._unwritable: str | None = None
        self._told: str | None = None
        self._lacks: dict[str, float] = {}
        self._background = Background()

    @property
    def lacking(self) -> list[str]:
        """The keys that other replicas publish and this one has not been able to take up."""
        patience = 0.0 if self._keys.problem is not None else self._silence.total_seconds()
        now = time.monotonic()
        return sorted(kid for kid, since in self._lacks.items() if now - since >= patience)

    @property
    def note(self) -> str | None:
        """What an operator should know, though nothing is wrong."""
        return self._unwritable

    async def start(self) -> None:
        """Report, and keep the ring until `stop`.

        Raises:
            Unavailable: Postgres is away.
        """
        self._unwritable = await self._store.problem_writing()
        if self._unwritable is not None and self._policy.rotation:
            _log.warning("%s", self._unwritable)
        await self._report()
        self._background.start(self._work(), "key ring's keeper")

    async def stop(self) -> None:
        """Stop, and say so: nobody has to wait for this worker."""
        await self._background.stop()
        try:
            async with self._database.connect() as db:
                await replicas.forget(db, self._worker)
        except Unavailable:
            return

    async def _work(self) -> None:
        while True:
            await self._keys.changed(within=self._look * (1 if self._to_do() else rules.LOOKS_A_BEAT))
            try:
                await self._report()
                if self._to_do():
                    await self._keep()
            except Unavailable as error:
                _log.debug("the key ring waits: %s", error.detail)
            except KeyRingError as error:
                self._tell(str(error))
            except Exception:  # noqa: BLE001  # it has to go on; the ring signs in any case
                _log.exception("looking after the key ring failed; trying again")
            else:
                self._told = None

    async def _report(self) -> None:
        mine = frozenset(self._keys.ring.published)
        async with self._database.connect() as db:
            await replicas.report(
                db,
                self._worker,
                store=self._store.name,
                keeps=self._unwritable is None,
                kids=mine,
            )
            live = await replicas.live(db, self._silence)
        others = [replica.kids for replica in live if replica.id != self._worker]
        lacks = rules.lacking(mine, others, stuck=self._keys.problem is not None)
        now = time.monotonic()
        self._lacks = {kid: self._lacks.get(kid, now) for kid in lacks}

    def _to_do(self) -> bool:
        entries, now = self._keys.ring.entries, datetime.now(UTC)
        return self._unwritable is None and (
            changes.waiting(entries, self._policy, now) or bool(self._unsettled())
        )

    def _unsettled(self) -> list[str]:
        since = datetime.now(UTC) - self._policy.pickup
        return [
            e.kid
            for e in self._keys.ring.entries
            if e.compromised_at is not None and e.settled_at is None and e.compromised_at <= since
        ]

    async def _keep(self) -> None:
        async with self._database.transaction() as db:
            if not await replicas.try_to_keep(db):
                return
            publishing = [replica.kids for replica in await replicas.live(db, self._silence)]
            now = datetime.now(UTC)
            plan = changes.keep(self._settings.signing_algorithm, self._policy, now, publishing)
            entry = (await self._store.change(plan)).entry
            if entry is not None and entry.signs_from is not None:
                await audit.record(db, "key.rotated", detail=f"{entry.kid} signs from {entry.signs_from}")
        for kid in self._unsettled():
            # Whoever declared it has not lived to finish.
            await compromise.finish(self._revocations, self._store, self._settings, kid)

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            _log.warning("the key ring cannot be looked after: %s", problem)
            self._told = problem
