"""How a token or a key fails: closed sets, and words that are safe in any log."""

from typing import Literal

Reason = Literal[
    "too_long",
    "malformed",
    "header",
    "type",
    "algorithm",
    "unknown_key",
    "signature",
    "claims",
    "issuer",
    "audience",
    "expired",
    "not_yet_valid",
    "revoked",
]
"""Why a token was refused; one word a check, in the order in which they are made."""


class InvalidToken(Exception):
    """A token was refused.

    `reason` is for code, metrics and tests; `detail` is a fixed sentence for the log. Neither they nor
    `str()` ever hold a part of the token, so all of them may be logged. The caller may know `invalid_token`
    and no more (RFC 6750 3.1).
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: Reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class InvalidKey(ValueError):
    """A JWK, or a set of them, is not one that tokens may be verified with. Holds no key material."""


class ConfigurationError(ValueError):
    """A setting does not fit the issuer. The text says which one, and what to set it to."""


class Unavailable(Exception):
    """Whether a token is good cannot be told right now: answer 503, not 401, or clients throw good tokens away.

    `retry_after` is in whole seconds, for the header of this name; `detail` is for the log.
    """

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
