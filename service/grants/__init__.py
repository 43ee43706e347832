"""Owns /token and /refresh: one file a grant, and what scope and audience a grant gets.

A request is parsed once into a closed union and the client authenticated; then the grant's own file reads from
top to bottom. Sessions, signatures and revocation belong to the packages below.
"""

from service.grants.answer import Parts

__all__ = ["Parts"]
