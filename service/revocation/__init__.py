"""Owns the taking back of tokens.

The record in Postgres, the blocklist in Redis and the rebuilding of one from the other. Hands on one way to
revoke (`Revocations.transaction`) and one question (`Revocations.revoked`); both keep their promise whatever
becomes of Redis.
"""

from service.revocation.entries import Reason, Revocation
from service.revocation.revocations import Revocations, Revoking

__all__ = ["Reason", "Revocation", "Revocations", "Revoking"]
