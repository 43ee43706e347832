"""Verify Sealwright's access tokens in a resource service: the one place that says what a valid token is.

`verify` answers for an access token; `verify_signed` and `check_registered` are its two halves, for the
issuer, which has a second kind of token, and `key_id` tells which key signed one. Pure functions of their
arguments: no clock, no network.
"""

from sealwright._claims import Claims, Registered
from sealwright._errors import InvalidKey, InvalidToken, Reason
from sealwright._jws import key_id, verify_signed
from sealwright._keys import Algorithm, Key, KeySet, PublicKey, thumbprint
from sealwright._verify import Expectations, check_registered, verify

__all__ = [
    "Algorithm",
    "Claims",
    "Expectations",
    "InvalidKey",
    "InvalidToken",
    "Key",
    "KeySet",
    "PublicKey",
    "Reason",
    "Registered",
    "check_registered",
    "key_id",
    "thumbprint",
    "verify",
    "verify_signed",
]
