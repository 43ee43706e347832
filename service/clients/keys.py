"""The public keys by which a client proves itself: registered with it, or fetched from where it publishes them."""

import asyncio
import json
import logging
import time
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import rsa

from sealwright import InvalidKey, Key, KeySet
from service.clients.directory import Client
from service.clients.fetching import Fetcher, NotFetched

log = logging.getLogger("sealwright")

MAX_KEYS = 16
MAX_RSA_BITS = 4096  # who may choose a key must not choose what verifying costs us

KEPT = 300.0
"""Seconds that fetched keys count without another look: so long may a key go on that its client has withdrawn."""
COOL_DOWN = 10.0
"""Seconds between two looks at one client's keys, whatever came of the first: tokens of unknown keys cost nothing."""
LAST_GOOD = 86400.0
"""Seconds that fetched keys are still used while nothing newer can be had."""

# RFC 7517 4.4 leaves `alg` out at will. A key without it is bound to the usual one of its kind (RFC 8725 3.1).
_USUAL = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}


def parse(jwks: str) -> KeySet:
    """Read a JWKS that is to be registered, where whatever is wrong with it can still be put right.

    Raises:
        InvalidKey: it is none, or one of its keys is not a public key that we can verify with.
    """
    found = _members(jwks)
    if not found:
        raise InvalidKey('it has no array "keys" with a key in it')
    if len(found) > MAX_KEYS:
        raise InvalidKey(f"it has more than {MAX_KEYS} keys")
    return KeySet(_key(jwk) for jwk in found)


def canonical(keys: KeySet) -> str:
    """Write keys as they are stored: their public members and nothing else, in a fixed order."""
    return json.dumps({"keys": [keys[kid].to_jwk() for kid in sorted(keys)]}, sort_keys=True)


def understood(document: bytes) -> KeySet:
    """Read a JWKS that somebody publishes. Keys that we cannot use are left out (RFC 7517 5).

    Raises:
        InvalidKey: it is no JWKS.
    """
    usable = []
    for jwk in _members(document)[:MAX_KEYS]:
        try:
            usable.append(_key(jwk))
        except InvalidKey:
            continue
    return KeySet(usable)


def _members(jwks: str | bytes) -> list[object]:
    try:
        members = json.loads(jwks)
    except (ValueError, RecursionError):
        raise InvalidKey("it is not JSON") from None
    found = members.get("keys") if isinstance(members, dict) else None
    if not isinstance(found, list):
        raise InvalidKey('it has no array "keys"')
    return found


def _key(jwk: object) -> Key:
    if not isinstance(jwk, dict):
        raise InvalidKey("one of its keys is not a JSON object")
    key = Key.from_jwk({"alg": _USUAL.get(str(jwk.get("kty"))), **jwk})
    if isinstance(key.public_key, rsa.RSAPublicKey) and key.public_key.key_size > MAX_RSA_BITS:
        raise InvalidKey(f"an RSA key has at most {MAX_RSA_BITS} bits")
    return key


@lru_cache(maxsize=1024)
def _registered(jwks: str) -> KeySet:
    return parse(jwks)


class _Published:
    """What is known of the keys that one client publishes."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.keys = KeySet()
        self.fetched_at = self.looked_at = float("-inf")
        self.lock = asyncio.Lock()


class ClientKeys:
    """Finds the keys of a client. Each worker keeps what it fetched; one look at a time for each client."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._published: dict[str, _Published] = {}

    async def of(self, client: Client, kid: str) -> KeySet:
        """Return the keys by which a client proves itself, looked at again if `kid` is not one of them."""
        if client.jwks is not None:
            return _registered(client.jwks)
        if client.jwks_uri is None:
            return KeySet()
        published = self._published.get(client.id)
        if published is None or published.uri != client.jwks_uri:
            published = self._published[client.id] = _Published(client.jwks_uri)
        if kid not in published.keys or time.monotonic() - published.fetched_at > KEPT:
            await self._look(client.id, published)
        good = time.monotonic() - published.fetched_at < LAST_GOOD
        return published.keys if good else KeySet()

    async def _look(self, client_id: str, published: _Published) -> None:
        async with published.lock:
            # Whoever waited for the lock finds a look that is younger than its question.
            if time.monotonic() - published.looked_at < COOL_DOWN:
                return
            try:
                published.keys = understood(await self._fetcher.fetch(published.uri))
                published.fetched_at = time.monotonic()
            except (NotFetched, InvalidKey) as error:
                log.warning("the keys of client %s could not be fetched: %s", client_id, error)
            finally:
                published.looked_at = time.monotonic()
