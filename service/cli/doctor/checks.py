"""What a check found, and looking at a part so that nothing of it can end the command."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from service.settings import SettingsError

State = Literal["ok", "warn", "fail"]

PATIENCE = 15.0
"""Seconds for all checks of one part; each connection and request in it has a shorter bound of its own."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was looked at. `do` is what to do about it; None where it is well."""

    name: str
    state: State
    says: str
    do: str | None = None


def ok(name: str, says: str) -> Check:
    """Say that something is as it should be."""
    return Check(name, "ok", says)


def warn(name: str, says: str, do: str) -> Check:
    """Say that something works, and might be better."""
    return Check(name, "warn", says, do)


def fail(name: str, says: str, do: str) -> Check:
    """Say that something does not work, or must not be so."""
    return Check(name, "fail", says, do)


async def collected(part: str, found: AsyncIterator[Check]) -> list[Check]:
    """Return all checks of a part; whatever breaks it is its last check."""
    checks: list[Check] = []
    try:
        async with asyncio.timeout(PATIENCE):
            async for check in found:
                checks.append(check)  # noqa: PERF401  # those before a failure are kept
    except SettingsError as error:
        said = str(error).replace("\n", "; ")
        checks.append(fail(part, f"not looked at: {said}", "Set what is missing; see: sealwright settings"))
    except TimeoutError:
        checks.append(
            fail(part, f"no answer within {PATIENCE:.0f} s", "See whether it hangs, and the network to it")
        )
    # A doctor that falls over what it should find is none.
    except Exception as error:  # noqa: BLE001
        checks.append(
            fail(part, f"looking at it broke: {type(error).__name__}", "Report this with its settings")
        )
    return checks
