"""Whether the settings are complete, and fit for production."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from service.cli.doctor.checks import Check, fail, ok, warn
from service.settings import PREFIX, Settings, SettingsError, load

LOOPBACK = {"localhost", "127.0.0.1", "::1"}

_LEAST_MEMORY_KIB = 19 * 1024
"""Argon2id with two iterations and one lane: OWASP's Password Storage Cheat Sheet."""


async def look() -> AsyncIterator[Check]:
    """Look at the settings as `serve` would read them."""
    try:
        settings = load()
    except SettingsError as error:
        for line in str(error).splitlines():
            yield fail("settings", line, "Set it, in the environment or in .env; see: sealwright settings")
        return
    if settings.development:
        yield warn(
            "settings",
            "this is development: http, /docs and /openapi.json are allowed",
            f"With real users set {PREFIX}ENVIRONMENT=production",
        )
    else:
        yield ok("settings", "complete, for production")
        for check in _production(settings):
            yield check
    if settings.password_memory_kib < _LEAST_MEMORY_KIB:
        yield warn(
            "passwords",
            f"Argon2id takes {settings.password_memory_kib} KiB: stolen hashes would be cheap to try",
            f"Set {PREFIX}PASSWORD_MEMORY_KIB to {_LEAST_MEMORY_KIB} or more; the default is 65536",
        )


def _production(settings: Settings) -> list[Check]:
    found = []
    if urlsplit(settings.issuer).hostname in LOOPBACK:
        found.append(
            warn(
                "settings",
                f"the issuer is {settings.issuer}, which nobody but this machine can reach",
                f"Set {PREFIX}ISSUER to the public URL",
            )
        )
    database = urlsplit(settings.database_url.get_secret_value())
    if database.hostname not in LOOPBACK and "sslmode" not in database.query:
        found.append(
            warn(
                "settings",
                "the database URL does not ask for TLS",
                "Add ?sslmode=verify-full, or require, unless the network to it is yours alone",
            )
        )
    return found
