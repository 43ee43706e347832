"""Whether the issuer is reached by the name that it announces: from here, and by the address that is used inside."""

import ssl
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from service.cli.doctor import keys
from service.cli.doctor.checks import Check, fail, ok, warn
from service.cli.doctor.postgres import CLOCKS_DIFFER
from service.cli.doctor.settings import LOOPBACK
from service.metadata import JWKS_PATH, PATHS
from service.settings import PREFIX, IssuerSettings, SettingsError, read_part

PATIENCE = 5.0


class _NotTold(Exception):
    """The answer is not what it should be; the check says so."""

    def __init__(self, check: Check) -> None:
        super().__init__(check.says)
        self.check = check


async def look(url: str | None) -> AsyncIterator[Check]:
    """Look at the issuer by its public name, and by `url`, the address that programs inside use."""
    issuer = read_part(IssuerSettings).issuer
    async for check in _reached("issuer", issuer, issuer):
        yield check
    if url is not None:
        async for check in _reached("inside", url.rstrip("/"), issuer):
            yield check


async def _reached(name: str, base: str, issuer: str) -> AsyncIterator[Check]:
    try:
        # No proxy of the environment: what counts is the way that services take.
        async with httpx2.AsyncClient(
            timeout=PATIENCE, trust_env=False, verify=ssl.create_default_context()
        ) as http:
            metadata = await _json(name, http, base + PATHS[0])
            yield _announced(name, base, issuer, metadata.body)
            yield _clock(name, metadata)
            jwks = await _json(name, http, base + JWKS_PATH)
            yield await _kids(name, base, jwks.body)
    except _NotTold as told:
        yield told.check
    except httpx2.InvalidURL:
        yield fail(name, f"{base!r} is no URL", "Give --url as http://name:port")
    except httpx2.HTTPError as error:
        yield _unreached(name, base, error)


class _Answer:
    def __init__(self, body: dict[str, Any], date: str | None, at: float) -> None:
        self.body, self.date, self.at = body, date, at


async def _json(name: str, http: httpx2.AsyncClient, url: str) -> _Answer:
    answer = await http.get(url)
    try:
        body = answer.json() if answer.status_code == 200 else None
    except ValueError:
        body = None
    if isinstance(body, dict):
        return _Answer(body, answer.headers.get("date"), time.time())
    said = f"status {answer.status_code}" + (
        f", which points to {answer.headers['location']}" if "location" in answer.headers else ""
    )
    raise _NotTold(
        fail(
            name,
            f"{url} answers, but not as Sealwright does ({said})",
            "Something else is at this address: correct the proxy's route, which must pass every path on unchanged",
        )
    )


def _announced(name: str, base: str, issuer: str, body: dict[str, Any]) -> Check:
    announced = body.get("issuer")
    if announced == issuer:
        return ok(name, f"{base} is reached, and announces {issuer}")
    return fail(
        name,
        f"{base} announces {announced!r}, here {PREFIX}ISSUER is {issuer!r}: letter for letter they must be the same",
        f"Give this command and the running service the same {PREFIX}ISSUER, and start the service again",
    )


def _clock(name: str, answer: _Answer) -> Check:
    try:
        there = parsedate_to_datetime(answer.date or "").timestamp()
    except ValueError:
        return warn(
            name, "its answers have no Date, so its clock cannot be compared", "See what the proxy removes"
        )
    # A Date has whole seconds, rounded down, and was written a moment before.
    behind = answer.at - there
    if -CLOCKS_DIFFER <= behind <= 1 + PATIENCE:
        return ok(name, "its clock is in step with this machine")
    return warn(
        name,
        f"its clock is {abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'} this machine",
        "Keep both machines in step with NTP",
    )


async def _kids(name: str, base: str, jwks: dict[str, Any]) -> Check:
    try:
        ours = await keys.published()
    except SettingsError:
        ours = None
    if ours is None:
        return warn(
            name, "its JWKS is not compared: the key ring cannot be read here", "Run this where the keys are"
        )
    listed = jwks.get("keys")
    theirs = (
        {key.get("kid") for key in listed if isinstance(key, dict)} if isinstance(listed, list) else set()
    )
    if theirs == ours:
        return ok(name, f"its JWKS has the {len(ours)} keys of the ring")
    return fail(
        name,
        f"its JWKS is not that of the ring here: {len(theirs - ours)} keys too many, {len(ours - theirs)} missing",
        f"Let all replicas have the same {PREFIX}KEYS_DIR; if {base} is behind a cache, see how old its copy is",
    )


def _unreached(name: str, base: str, error: httpx2.HTTPError) -> Check:
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return fail(
                name,
                f"{base} has a certificate that is not trusted here: {cause.verify_message}",
                "Give the proxy a certificate for this name with its whole chain; of a CA of your own, put its "
                "certificate where this machine's are, in the container as well",
            )
        if isinstance(cause, ssl.SSLError):
            return fail(
                name,
                f"{base} does not speak TLS as expected: {cause.reason or type(cause).__name__}",
                "See whether the proxy ends TLS on this port, in version 1.2 or later",
            )
    host = urlsplit(base).hostname
    if host in LOOPBACK and in_container():
        return fail(
            name,
            f"{base} cannot be reached: inside a container {host} is the container itself",
            f"Keep {PREFIX}ISSUER as programs outside reach it, and let programs in containers fetch metadata and "
            "JWKS by the service's name, still expecting this issuer; check that with: "
            "sealwright doctor --url http://NAME:8000",
        )
    if isinstance(error, httpx2.TimeoutException):
        return fail(name, f"{base} does not answer within {PATIENCE:.0f} s", "See the firewall and the proxy")
    return fail(
        name,
        f"{base} cannot be reached: {_said(error)}",
        "Start the service and its proxy; see whether the name leads to it: getent hosts " + (host or "NAME"),
    )


def _said(error: BaseException) -> str:
    said = [str(cause) for cause in _chain(error) if str(cause)]
    return said[-1] if said else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def in_container() -> bool:
    """Whether this runs in a container of Docker or Podman, as far as it shows."""
    return any(Path(path).exists() for path in ("/.dockerenv", "/run/.containerenv"))
