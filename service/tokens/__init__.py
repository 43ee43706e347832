"""Owns what is in a token: minting access and refresh tokens, and reading them back once their signature holds.

What makes a token valid is said by the `sealwright` distribution alone; here it is asked with the issuer's
own keys and expectations.
"""

from service.tokens.minting import Access, Minter
from service.tokens.reading import Refresh, TokenReader

__all__ = ["Access", "Minter", "Refresh", "TokenReader"]
