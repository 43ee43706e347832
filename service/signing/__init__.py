"""The key ring: which key signs now, which is next, which have retired; signing with it, and the JWKS.

It owns the store of keys, a folder or Postgres, and hands on `KeyRing`, a snapshot that signs and publishes, kept
up to date in a running replica by `KeyRingWatcher`. Private keys never leave this package. Which key signs is a pure
function of the ring and the time (`rules`), so all replicas change over at the same moment, without a word between
them. What changes a ring is a plan (`changes`), carried out by its store alone.
"""

from service.signing import changes
from service.signing.entries import Entry, KeyRingError
from service.signing.opening import files_store, store_of
from service.signing.ring import KeyRing, KeyStatus, load
from service.signing.rules import Policy, State
from service.signing.signer import TokenType
from service.signing.store import PostgresStore, Store
from service.signing.watcher import KeyRingWatcher

__all__ = [
    "Entry",
    "KeyRing",
    "KeyRingError",
    "KeyRingWatcher",
    "KeyStatus",
    "Policy",
    "PostgresStore",
    "State",
    "Store",
    "TokenType",
    "changes",
    "files_store",
    "load",
    "store_of",
]
