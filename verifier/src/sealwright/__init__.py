"""Verify Sealwright's access tokens in a resource service: the one place that says what a valid token is.

`Verifier` is what a resource service uses: it keeps the issuer's keys and revocations current and answers for
a token on its own. `sealwright.fastapi` and `sealwright.asgi` put it in front of routes, `BlockingVerifier`
serves programs without an event loop, `TokenSource` those that call others, `sealwright.testing` their tests.

`verify` is the rule behind it, and `verify_signed` and `check_registered` its two halves, for the issuer,
which has a second kind of token; `key_id` tells which key signed one. Pure functions of their arguments: no
clock, no network. Who imports them alone does not pay for the rest, which is loaded at first use.
"""

import importlib as _importlib
import typing as _typing

from sealwright._claims import Claims, Registered
from sealwright._errors import ConfigurationError, InvalidKey, InvalidToken, Reason, Unavailable
from sealwright._jws import key_id, verify_signed
from sealwright._keys import Algorithm, Key, KeySet, PublicKey, thumbprint
from sealwright._verify import Expectations, check_registered, verify

if _typing.TYPE_CHECKING:
    from sealwright._blocking import BlockingVerifier
    from sealwright._metrics import Health
    from sealwright._tokens import TokenRefused, TokenSource
    from sealwright._verifier import FeedStale, Options, UnknownKey, Verifier

_LOADED_LATER = {
    "BlockingVerifier": "_blocking",
    "FeedStale": "_verifier",
    "Health": "_metrics",
    "Options": "_verifier",
    "TokenRefused": "_tokens",
    "TokenSource": "_tokens",
    "UnknownKey": "_verifier",
    "Verifier": "_verifier",
}

__all__ = [
    "Algorithm",
    "BlockingVerifier",
    "Claims",
    "ConfigurationError",
    "Expectations",
    "FeedStale",
    "Health",
    "InvalidKey",
    "InvalidToken",
    "Key",
    "KeySet",
    "Options",
    "PublicKey",
    "Reason",
    "Registered",
    "TokenRefused",
    "TokenSource",
    "Unavailable",
    "UnknownKey",
    "Verifier",
    "check_registered",
    "key_id",
    "thumbprint",
    "verify",
    "verify_signed",
]


def __getattr__(name: str) -> _typing.Any:
    module = _LOADED_LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(f"{__name__}.{module}"), name)
