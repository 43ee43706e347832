"""What stands for addresses and names in Redis: of equal length, and not to be read there.

A name that was typed may be a password. Whoever can read Redis, and not the settings, has no key with which to try
out what a digest was made of.
"""

import hashlib
import hmac
import json
from uuid import UUID

from sqlalchemy import make_url

from service.proxies import origin
from service.settings import Settings


class Names:
    """The names of one deployment: every replica and every command makes the same."""

    def __init__(self, settings: Settings) -> None:
        url = make_url(settings.database_url.get_secret_value())
        # Not the host: one replica may know the server by another name than the next.
        shared = json.dumps([url.username, url.password, url.database])
        self._key = hashlib.sha256(shared.encode()).digest()

    def address(self, address: str | None) -> str:
        """Name who calls from an address."""
        return self._digest("address", "" if address is None else origin(address))

    def account(self, username: str) -> str:
        """Name whoever signs in by this, which is normalised, whether there is such a user or not."""
        return self._digest("account", username)

    def client(self, client_id: str) -> str:
        """Name a client, whether it exists or not."""
        return self._digest("client", client_id)

    def session(self, session_id: UUID) -> str:
        """Name a session."""
        return self._digest("session", str(session_id))

    def _digest(self, kind: str, name: str) -> str:
        return hmac.digest(self._key, f"{kind}:{name}".encode(), "sha256")[:16].hex()
