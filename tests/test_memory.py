"""What a load has left behind goes back to the system."""

import asyncio

import pytest

from service import memory
from service.memory import WORTH, Memory, resident

pytestmark = pytest.mark.anyio


async def test_memory_that_is_free_between_what_is_in_use_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "LOOK", 0.05)
    before = resident()
    keeping = Memory()
    await keeping.start()
    # As after a flood of connections: what a few of them left is still in use.
    heads = [b"a" * 60_000 for _ in range(2_000)]
    assert resident() > before + 6 * WORTH
    kept = heads[:: len(heads) // 20]
    del heads
    try:
        async with asyncio.timeout(20):
            while resident() > before + 2 * WORTH:  # noqa: ASYNC110  # the system has no event for it
                await asyncio.sleep(0.05)
    finally:
        await keeping.stop()
    assert len(kept) == 20
