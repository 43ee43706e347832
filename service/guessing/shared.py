"""Counting in Redis, for all replicas.

A limit has two keys: how many failures there are, and, while there is a wait, one that lives as long as it does.
Redis alone measures time, by the life of its keys: the clocks of replicas do not come into it, and nothing has to be
deleted. Scripts, because a look and the count that follows from it must not be parted.
"""

from collections.abc import Sequence
from typing import cast

from redis.asyncio import Redis

from service import redis_connections
from service.guessing.rules import FIRST_WAIT, Begun, Kind, Limit, Standing, Wait
from service.settings import Settings

CONNECTIONS = 16
"""Of one worker, at most."""

ANY = "*"

_WAIT = ":wait"

# Of limit i: keys 2i-1 and 2i, arguments 4i-3 to 4i.
_COUNT = f"""
local function count(i)
  local failures = redis.call('INCR', KEYS[2 * i - 1])
  if failures == 1 then redis.call('PEXPIRE', KEYS[2 * i - 1], ARGV[4 * i - 2]) end
  local beyond = failures - tonumber(ARGV[4 * i - 3])
  if beyond >= 0 then
    local wait = math.min({FIRST_WAIT} * 2 ^ beyond, tonumber(ARGV[4 * i - 1]))
    redis.call('SET', KEYS[2 * i], '', 'PX', string.format('%.0f', wait))
  end
  return failures
end
"""

_BEGIN = f"""{_COUNT}
local longest, which = 0, 0
for i = 1, #KEYS / 2 do
  local left = redis.call('PTTL', KEYS[2 * i])
  if left > longest then longest, which = left, i end
end
if longest > 0 then return {{longest, which}} end
local standings = {{}}
for i = 1, #KEYS / 2 do
  local failures = tonumber(redis.call('GET', KEYS[2 * i - 1]) or 0)
  if ARGV[4 * i] == '1' or failures + 1 >= tonumber(ARGV[4 * i - 3]) then
    standings[2 * i - 1], standings[2 * i] = count(i), 1
  else
    standings[2 * i - 1], standings[2 * i] = failures, 0
  end
end
return {{0, unpack(standings)}}
"""

_FAILED = f"""{_COUNT}
local failures = {{}}
for i = 1, #KEYS / 2 do failures[i] = count(i) end
return failures
"""

_SETTLE = """
for i = 1, #KEYS / 2 do
  redis.call('DEL', KEYS[2 * i])
  if ARGV[i] == 'forget' or redis.call('DECR', KEYS[2 * i - 1]) <= 0 then redis.call('DEL', KEYS[2 * i - 1]) end
end
"""


class SharedCounts:
    """The counts of one namespace. Every method may raise `redis.RedisError` or `OSError`."""

    def __init__(self, settings: Settings) -> None:
        # Not the blocklist's connections: each new one of those is looked at before it is trusted.
        self._redis = Redis.from_pool(
            redis_connections.pool(
                settings.redis_url.get_secret_value(),
                most=CONNECTIONS,
                timeout=settings.redis_timeout,
                again=True,
                decode_responses=True,
            )
        )
        self._prefix = f"{settings.redis_namespace}:guesses"
        self._begin = self._redis.register_script(_BEGIN)
        self._failed = self._redis.register_script(_FAILED)
        self._settle = self._redis.register_script(_SETTLE)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def probe(self) -> None:
        """Raise what a count would raise: by writing, for a server that is full still reads."""
        await self._redis.set(f"{self._prefix}:probe", "", px=1)

    async def begin(self, limits: Sequence[Limit]) -> Begun:
        """See `Counts`."""
        first, *rest = cast("list[int]", await self._begin(keys=self._keys(limits), args=_rules(limits)))
        if first > 0:
            return Wait(limits[rest[0] - 1].rule.kind, first)
        return tuple(
            Standing(limit, failures, counted == 1)
            for limit, failures, counted in zip(limits, rest[::2], rest[1::2], strict=True)
        )

    async def count(self, limits: Sequence[Limit]) -> list[int]:
        """See `Counts`."""
        return cast("list[int]", await self._failed(keys=self._keys(limits), args=_rules(limits)))

    async def settle(self, back: Sequence[Limit], forget: Sequence[Limit]) -> None:
        """See `Counts`."""
        how = ["back"] * len(back) + ["forget"] * len(forget)
        await self._settle(keys=self._keys([*back, *forget]), args=how)

    async def lift(self, place: str = ANY, what: str = ANY) -> int:
        """Forget what was counted at a place, `what` being a kind and a subject; return how many counts there were.

        This looks at every key in Redis, some at a time.
        """
        lifted = 0
        async for key in self._redis.scan_iter(f"{self._key(place, what)}*", count=1000):
            deleted = await self._redis.delete(key)
            lifted += 0 if key.endswith(_WAIT) else deleted
        return lifted

    def _key(self, place: str, what: str) -> str:
        # The place is the hash tag: what is looked at together is in one slot of a cluster, the rest spread.
        return f"{{{self._prefix}:{place}}}:{what}"

    def _keys(self, limits: Sequence[Limit]) -> list[str]:
        keys = []
        for limit in limits:
            key = self._key(limit.place, named(limit.rule.kind, limit.subject))
            keys += [key, key + _WAIT]
        return keys


def named(kind: Kind, subject: str = "") -> str:
    """Return what a count is of."""
    return f"{kind}:{subject}" if subject else kind


def _rules(limits: Sequence[Limit]) -> list[int]:
    return [
        value
        for limit in limits
        for value in (limit.rule.free, limit.rule.window, limit.rule.longest, int(limit.rule.certain))
    ]
