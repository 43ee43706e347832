"""Redis: there, new enough, never evicting, and holding as much as the record in Postgres."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from redis import RedisError
from redis.asyncio import Redis

from service import redis_connections
from service.cli.doctor.checks import Check, fail, ok, warn
from service.database import Database
from service.errors import Unavailable
from service.revocation import record
from service.revocation.blocklist import Blocklist
from service.settings import PREFIX, PostgresSettings, RedisSettings, SettingsError, read_part

PATIENCE = timedelta(seconds=5)

OLDEST = (6, 2)


async def look() -> AsyncIterator[Check]:
    """Look at Redis as the service would use it."""
    settings = read_part(RedisSettings)
    redis = Redis.from_pool(
        redis_connections.pool(
            settings.redis_url.get_secret_value(), most=2, timeout=PATIENCE, decode_responses=True
        )
    )
    blocklist = Blocklist(redis, settings.redis_namespace)
    try:
        info: dict[str, Any] = await redis.info()
        yield _version(info)
        yield _policy(info)
        yield await _marker(blocklist)
    except (RedisError, OSError, TimeoutError) as error:
        yield fail(
            "redis",
            f"cannot be used: {type(error).__name__}",
            f"Start it, or correct {PREFIX}REDIS_URL; the service goes on without it, more slowly",
        )
    finally:
        await blocklist.close()
        await redis.aclose()


def _version(info: dict[str, Any]) -> Check:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        return fail("redis", f"{name} {version} is too old", "Upgrade it to 6.2 or later")
    return ok("redis", f"{name} {version} answers")


def _policy(info: dict[str, Any]) -> Check:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return fail(
            "eviction",
            f"maxmemory-policy is {policy}: it may drop revocations, so the service does not use it",
            "Run: redis-cli CONFIG SET maxmemory-policy noeviction; and write it into redis.conf",
        )
    return ok("eviction", "maxmemory-policy is noeviction")


async def _marker(blocklist: Blocklist) -> Check:
    try:
        settings = read_part(PostgresSettings)
    except SettingsError:
        return warn("blocklist", "not compared: the database is not set", f"Set {PREFIX}DATABASE_URL")
    database = Database(settings.database_url.get_secret_value(), size=1, timeout=PATIENCE)
    await database.open()
    try:
        async with database.connect() as db:
            head = await record.head(db)
    except (Unavailable, LookupError):
        return warn("blocklist", "not compared: Postgres is away", "Look at what is said of Postgres first")
    finally:
        await database.close()
    marker, _ = await blocklist.look(head.timeline, ())
    if marker is None:
        return warn("blocklist", "empty", "A running service fills it within a second; is one running?")
    if marker < head.number:
        return warn(
            "blocklist",
            f"at revocation {marker}, the record is at {head.number}",
            "A running service catches up within a second; is one running?",
        )
    if marker > head.number:
        return fail(
            "blocklist",
            f"at revocation {marker}, but the record only at {head.number}: Postgres was put back to an earlier time",
            "Run: sealwright restored",
        )
    return ok("blocklist", f"whole, up to revocation {marker}")
