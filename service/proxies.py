"""Where a request really came from: what trusted proxies say of it, and nobody else."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Self

from starlette.types import Scope

from service.settings import ProxyHeader, Settings

MAX_HOPS = 16
"""Proxies in a row; whatever stands before them in the header is not read."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class TrustedProxies:
    """Reads one header, written by proxies from these networks.

    Each proxy appends whom it heard the request from. So the header is read from its end: the first address
    that is no trusted proxy's is the client's, and everything before it is that client's own invention.
    """

    def __init__(self, networks: Sequence[Network], header: ProxyHeader) -> None:
        self._networks = networks
        self._header = header.lower().encode()
        self._read = _of_forwarded if header == "Forwarded" else _of_x_forwarded_for
        self._is_trusted = lru_cache(maxsize=1024)(self._in_networks)

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return those of the settings; None if no proxy is trusted."""
        if not settings.trusted_proxies:
            return None
        return cls(settings.trusted_proxies, settings.proxy_header)

    def client(self, scope: Scope) -> tuple[str, int] | None:
        """Return the address that a request came from, with port 0 where a proxy told it."""
        peer: tuple[str, int] | None = scope["client"]
        if peer is None or not self._is_trusted(peer[0]):
            return peer
        told = b",".join(value for name, value in scope["headers"] if name == self._header)
        if not told:
            return peer
        address = peer[0]
        for entry in reversed(told.decode("latin-1").rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            said = self._read(entry.strip())
            if said is None:
                break  # junk, or a client that is not to be named: the proxy that passed it on is all we know
            address = said
            if not self._is_trusted(address):
                break
        return address, 0

    def _in_networks(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)


def _of_x_forwarded_for(entry: str) -> str | None:
    # Some proxies add the port.
    if entry.startswith("["):
        host, _, _ = entry[1:].partition("]")
    elif entry.count(":") == 1:
        host, _, _ = entry.partition(":")
    else:
        host = entry
    address = _address(host)
    return None if address is None else str(address)


def _of_forwarded(entry: str) -> str | None:
    """Read `for` of one element of RFC 7239 4."""
    for pair in entry.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return _of_x_forwarded_for(value.removeprefix('"').removesuffix('"'))
    return None


def origin(text: str) -> str:
    """Return whom an address is counted as: one of IPv6 as its /64, which is the least that a subscriber has."""
    address = _address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return text if address is None else str(address)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None  # text of anybody's choice
        # How a socket for both kinds shows an IPv4 peer.
        return address.ipv4_mapped or address
    return address
