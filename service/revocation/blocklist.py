"""The blocklist in Redis: a cache of the record that knows whether it is whole.

A marker says up to which number it holds every revocation in force. It moves only from n-1 to n,
in the same script that writes the entry, so that a write that was lost leaves it behind for good
and the gap is filled from Postgres. Its keys are named after the record's timeline: after a restore
the old ones mean nothing.
"""

import secrets
from collections.abc import Sequence
from uuid import UUID

from redis import ConnectionError  # noqa: A004  # theirs is no OSError
from redis.asyncio import Redis

from service.revocation.entries import Kill, Kind
from service.revocation.lookups import Lookups
from service.revocation.record import Numbered

BATCH = 500

# An entry of a lower number never overwrites one of a higher: writers may come in any order.
# A user of Redis without the right to announce still writes: the record is looked at often enough.
_APPLY = """
for i = 2, #KEYS do
  local at = 3 * i - 2
  local held = redis.call('GET', KEYS[i])
  if not held or tonumber(string.match(held, '^%d+')) <= tonumber(ARGV[at]) then
    redis.call('SET', KEYS[i], ARGV[at] .. ':' .. ARGV[at + 1], 'PX', ARGV[at + 2])
  end
end
local marker = tonumber(redis.call('GET', KEYS[1]) or '')
if marker and marker >= tonumber(ARGV[1]) and marker < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[2])
  marker = tonumber(ARGV[2])
  redis.pcall('PUBLISH', ARGV[3], ARGV[2])
end
return marker or -1
"""

# Sets the marker only if nothing was lost since the rebuild began: FLUSHALL would have taken its nonce too.
_FINISH = """
if redis.call('DEL', KEYS[2]) == 0 then return 0 end
local marker = tonumber(redis.call('GET', KEYS[1]) or '')
if not marker or marker < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""

NEVER = "*"  # in place of an epoch: every token of the subject is dead


def channel(namespace: str) -> str:
    """Name the channel on which each move of the marker is announced."""
    return f"{{{namespace}}}:revocations"


class Blocklist:
    """The keys of one timeline. Every method may raise `redis.RedisError` or `OSError`."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis = redis
        self._lookups = Lookups(redis.connection_pool)
        self._namespace = namespace
        self._apply = redis.register_script(_APPLY)
        self._finish = redis.register_script(_FINISH)

    def _prefix(self, timeline: UUID) -> str:
        # One hash tag for all keys, so that a Redis Cluster keeps them in one slot.
        return f"{{{self._namespace}}}:{timeline}"

    async def look(self, timeline: UUID, named: Sequence[tuple[Kind, str]]) -> tuple[int | None, list[Kill]]:
        """Read the marker and the entries of these subjects, in one call. Marker None: there is none."""
        prefix = self._prefix(timeline)
        marker, *values = await self._lookups.get(
            [f"{prefix}:marker", *(f"{prefix}:{kind}:{subject}" for kind, subject in named)]
        )
        kills = []
        for (kind, _), value in zip(named, values, strict=True):
            if value is not None:
                epoch = value.partition(":")[2]
                kills.append(Kill(kind, None if epoch == NEVER else int(epoch)))
        return (None if marker is None else int(marker)), kills

    async def apply(self, timeline: UUID, entries: Sequence[Numbered], *, after: int, upto: int) -> int:
        """Write entries; move the marker to `upto` if it stands at `after` or later. Return it, or -1 for none.

        `entries` must be all that are in force with numbers in (after, upto].
        """
        try:
            return await self._write(self._redis, timeline, entries, after=after, upto=upto)
        except ConnectionError:
            # One that was cut while it lay idle, and with it the others; to write the same twice changes nothing.
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            return await self._write(self._redis, timeline, entries, after=after, upto=upto)

    async def _write(
        self, redis: Redis, timeline: UUID, entries: Sequence[Numbered], *, after: int, upto: int
    ) -> int:
        marker = -1
        for batch, last in _batches(entries, upto):
            prefix = self._prefix(timeline)
            keys = [f"{prefix}:marker", *(f"{prefix}:{e.kind}:{e.subject}" for e in batch)]
            arguments: list[str | int] = [after, last, channel(self._namespace)]
            for entry in batch:
                arguments += [
                    entry.number,
                    NEVER if entry.epoch is None else entry.epoch,
                    max(entry.ttl_ms, 1),
                ]
            marker = int(await self._apply(keys=keys, args=arguments, client=redis))
            after = last
        return marker

    async def rebuild(self, timeline: UUID, entries: Sequence[Numbered], upto: int) -> bool:
        """Write everything in force up to `upto`, then the marker.

        False: Redis lost something meanwhile; start again.
        """
        prefix = self._prefix(timeline)
        nonce = f"{prefix}:rebuild:{secrets.token_hex(8)}"
        # One connection without retries: a Redis that restarts meanwhile, from an older copy that may
        # hold the nonce and lack an entry, breaks it and with it the rebuild.
        async with self._redis.client() as redis:
            await redis.set(nonce, 1, ex=60)
            await self._write(redis, timeline, entries, after=-1, upto=-1)
            return bool(await self._finish(keys=[f"{prefix}:marker", nonce], args=[upto], client=redis))

    async def forget(self, timeline: UUID) -> None:
        """Let nobody believe what is left of a timeline that is over."""
        await self._redis.delete(f"{self._prefix(timeline)}:marker")

    async def close(self) -> None:
        """Close the connections of its own."""
        await self._lookups.close()

    async def evicts(self) -> str | None:
        """Return the eviction policy if Redis may drop keys by itself, else None."""
        policy = (await self._redis.info("memory")).get("maxmemory_policy", "noeviction")
        return None if policy == "noeviction" else str(policy)


def _batches(entries: Sequence[Numbered], upto: int) -> list[tuple[Sequence[Numbered], int]]:
    if not entries:
        return [((), upto)]
    slices = [entries[i : i + BATCH] for i in range(0, len(entries), BATCH)]
    lasts = [min(part[-1].number, upto) for part in slices[:-1]] + [upto]
    return list(zip(slices, lasts, strict=True))
