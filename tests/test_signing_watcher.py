"""A running replica's key ring: it follows the folder and the time, and outlives what is wrong there."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from service.settings import KeySettings
from service.signing import (
    Entry,
    KeyRingError,
    KeyRingWatcher,
    Policy,
    files,
    files_store,
    folder,
    ring,
    signer,
    watcher,
)
from tests.support import ring as rings

pytestmark = pytest.mark.anyio

POLICY = Policy.of(KeySettings())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    rings.generate(tmp_path, "ES256", datetime.now(UTC))
    return tmp_path


@asynccontextmanager
async def watching(keys_dir: Path, *, interval: float = 0.05) -> AsyncIterator[KeyRingWatcher]:
    replica = KeyRingWatcher(files_store(keys_dir), POLICY, interval=timedelta(seconds=interval))
    await replica.start()
    try:
        yield replica
    finally:
        await replica.stop()


async def within(seconds: float, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what a thread does to files and attributes has no event
            await asyncio.sleep(0.01)


def replace(path: Path, data: bytes) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(data)
    fresh.chmod(0o644)
    fresh.replace(path)


def put(keys_dir: Path, created: datetime, signs_from: datetime | None) -> Entry:
    key, pem = signer.make("ES256")
    files.write_private(keys_dir, key.kid, pem)
    return Entry(key, created, signs_from)


async def test_a_replica_takes_up_a_change_within_3_seconds(keys_dir: Path) -> None:
    async with watching(keys_dir, interval=1.0) as replica:
        before = replica.ring
        entry = rings.generate(keys_dir, "ES256", datetime.now(UTC))
        await within(3, lambda: entry.kid in replica.ring.published)

        assert entry.kid.encode() in replica.ring.jwks
        assert replica.ring.etag != before.etag
        rings.retire(keys_dir, entry.kid, "ES256", POLICY, datetime.now(UTC))
        await within(3, lambda: replica.ring.etag == before.etag)
        assert replica.problem is None


async def test_nothing_is_made_anew_while_nothing_changes(keys_dir: Path) -> None:
    with mock.patch.object(watcher, "read", wraps=ring.read) as made:
        async with watching(keys_dir) as replica:
            before = replica.ring
            looked = mock.Mock(wraps=files.read_ring)
            with mock.patch.object(files, "read_ring", looked):
                await within(4, lambda: looked.call_count >= 2)

        assert made.call_count == 1
        assert replica.ring is before


async def test_a_replica_does_by_itself_what_time_brings(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    hour, soon = timedelta(hours=1), now + timedelta(seconds=1.5)
    # One leaves the JWKS soon, one is due to lose its private half soon, one begins to sign soon.
    leaving = put(tmp_path, now - 9 * hour, now - 8 * hour)
    stopping = put(tmp_path, now - 9 * hour, soon - POLICY.published_for)
    active = put(tmp_path, now - 9 * hour, soon - POLICY.pickup)
    upcoming = put(tmp_path, now - hour, soon)
    files.write_ring(tmp_path, [leaving, stopping, active, upcoming])

    async with watching(tmp_path) as replica:
        # Long stopped: its private half should not have been there at all.
        assert not files.has_private(tmp_path, leaving.kid)
        assert files.has_private(tmp_path, stopping.kid)
        assert leaving.kid in replica.ring.published
        assert replica.ring.active_kid(datetime.now(UTC).timestamp()) == active.kid

        await within(4, lambda: leaving.kid not in replica.ring.published)
        await within(4, lambda: not files.has_private(tmp_path, stopping.kid))

        assert leaving.kid in replica.ring.known
        assert replica.ring.active_kid(datetime.now(UTC).timestamp()) == upcoming.kid
        assert files.has_private(tmp_path, active.kid)


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff" * 100_000, b'{"version": 1, "keys": []}'])
async def test_garbage_leaves_the_last_good_ring_and_is_healed(
    keys_dir: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = files.ring_path(keys_dir)
    good = path.read_bytes()
    async with watching(keys_dir) as replica:
        before = replica.ring
        replace(path, garbage)
        await within(3, lambda: replica.problem is not None)

        assert str(path) in str(replica.problem)
        assert replica.ring is before
        assert before.sign("at+jwt", b"{}", datetime.now(UTC).timestamp())

        replace(path, good)
        await within(3, lambda: replica.problem is None)
        assert replica.ring.etag == before.etag
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1, "said once, not each second"


async def test_an_unreadable_new_key_is_a_problem_until_it_is_put_right(keys_dir: Path) -> None:
    async with watching(keys_dir) as replica:
        with folder.locked(keys_dir):
            entry = put(keys_dir, datetime.now(UTC), None)
            path = files.private_path(keys_dir, entry.kid)
            path.chmod(0o644)
            files.write_ring(keys_dir, [*files.read_entries(keys_dir), entry])
        await within(3, lambda: replica.problem is not None)
        assert f"chmod 600 {path}" in str(replica.problem)
        assert entry.kid not in replica.ring.published

        path.chmod(0o600)
        await within(3, lambda: entry.kid in replica.ring.published and replica.problem is None)


async def test_a_folder_that_everybody_can_write_leaves_the_last_good_ring(keys_dir: Path) -> None:
    async with watching(keys_dir) as replica:
        before = replica.ring
        os.chmod(keys_dir, 0o777)  # noqa: PTH101  # nothing else runs here that it could block
        await within(3, lambda: replica.problem is not None)

        assert f"chmod o-w {keys_dir}" in str(replica.problem)
        assert replica.ring is before
        os.chmod(keys_dir, 0o700)  # noqa: PTH101
        await within(3, lambda: replica.problem is None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_ring_that_somebody_else_put_there_leaves_the_last_good_one(keys_dir: Path) -> None:
    path, theirs = files.ring_path(keys_dir), keys_dir / "theirs"
    os.mkdir(theirs)  # noqa: PTH102  # nothing else runs here that it could block
    files.write_ring(theirs, [put(keys_dir, datetime.now(UTC), datetime.now(UTC))])
    os.chown(files.ring_path(theirs), 65534, 65534)
    async with watching(keys_dir) as replica:
        before = replica.ring
        os.rename(files.ring_path(theirs), path)  # noqa: PTH104
        await within(3, lambda: replica.problem is not None)

        assert f"{path} belongs to user 65534" in str(replica.problem)
        assert replica.ring is before


async def test_a_folder_that_goes_away_and_comes_back_is_survived(keys_dir: Path) -> None:
    away = keys_dir.with_name("away")
    async with watching(keys_dir) as replica:
        os.rename(keys_dir, away)  # noqa: PTH104  # nothing else runs here that it could block
        await within(3, lambda: replica.problem is not None)
        os.rename(away, keys_dir)  # noqa: PTH104
        await within(3, lambda: replica.problem is None)


async def test_whatever_goes_wrong_inside_does_not_end_the_watching(keys_dir: Path) -> None:
    async with watching(keys_dir) as replica:
        with mock.patch.object(files, "read_ring", side_effect=RuntimeError("secret detail")):
            await within(3, lambda: replica.problem is not None)
            assert "secret detail" not in str(replica.problem)
        await within(3, lambda: replica.problem is None)


async def test_a_folder_that_the_replica_cannot_write_is_mentioned_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    old, new = (put(tmp_path, now, now - timedelta(hours=hours)) for hours in (2, 1))
    files.write_ring(tmp_path, [old, new])
    (tmp_path / ".lock").mkdir()  # stops root too

    async with watching(tmp_path) as replica:
        looked = mock.Mock(wraps=folder.locked)
        with mock.patch.object(folder, "locked", looked):
            await within(4, lambda: looked.call_count >= 2)
        assert replica.problem is None
        (tmp_path / ".lock").rmdir()
        await within(3, lambda: not files.has_private(tmp_path, old.kid))
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1


async def test_a_replica_does_not_start_without_its_keys(tmp_path: Path) -> None:
    replica = KeyRingWatcher(files_store(tmp_path), POLICY, interval=timedelta(seconds=1))

    with pytest.raises(KeyRingError, match="sealwright keys generate"):
        await replica.start()
    await replica.stop()


async def test_the_ring_can_still_be_used_once_the_watcher_has_stopped(keys_dir: Path) -> None:
    async with watching(keys_dir) as replica:
        pass

    assert replica.ring.sign("rt+jwt", b"{}", 0.0)


async def test_a_next_key_retired_between_two_reads_is_no_problem(keys_dir: Path) -> None:
    now = datetime.now(UTC)
    entry = rings.generate(keys_dir, "ES256", now)
    stale = files.read_ring(keys_dir)
    rings.retire(keys_dir, entry.kid, "ES256", POLICY, now)
    fresh = files.read_ring(keys_dir)

    with mock.patch.object(files, "read_ring", side_effect=[stale, fresh]):
        raw, snapshot = await ring.read(files_store(keys_dir), POLICY, now)

    assert raw == fresh
    assert entry.kid not in snapshot.published
