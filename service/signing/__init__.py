"""The key ring: which key signs now, which is next, which have retired; signing with it, and the JWKS.

It owns the folder of keys and hands on `KeyRing`, a snapshot that signs and publishes, kept up to date in a
running replica by `KeyRingWatcher`. Private keys never leave this package. Which key signs is a pure function
of `ring.json` and the time (`rules`), so all replicas change over at the same moment, without a word between
them.
"""

from service.signing.changes import ensure, generate, retire, rotate, tidy
from service.signing.entries import Entry, KeyRingError
from service.signing.ring import KeyRing, load
from service.signing.rules import Policy, State
from service.signing.signer import TokenType
from service.signing.watcher import KeyRingWatcher

__all__ = [
    "Entry",
    "KeyRing",
    "KeyRingError",
    "KeyRingWatcher",
    "Policy",
    "State",
    "TokenType",
    "ensure",
    "generate",
    "load",
    "retire",
    "rotate",
    "tidy",
]
