"""Which addresses a URL that somebody registered may lead to: public ones, and nothing inside (RFC 6890). Pure."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

# IANA's registry of special-purpose IPv4 addresses, with what only a network's inside can mean by the rest.
_INSIDE_4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a carrier's customers (RFC 6598)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's own services, on a public address
        "169.254.0.0/16",  # link-local; clouds serve credentials there
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
"""All that is routed in the world. Outside are loopback, link-local, unique local, multicast, and the prefixes that
carry an IPv4 address: ::ffff:0:0/96 and NAT64's 64:ff9b::/96 and 64:ff9b:1::/48."""
_INSIDE_6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # IETF protocol assignments, Teredo among them, which carries an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries an IPv4 address
        "3fff::/20",  # documentation
    )
)


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, whoever writes it how."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _INSIDE_4)
    return address in _GLOBAL_6 and not any(address in block for block in _INSIDE_6)


def allowed(text: str, *, loopback: bool) -> bool:
    """Whether a resolved address may be connected to; with `loopback`, this machine's own as well."""
    address = ip_address(text)
    return is_public(address) or (loopback and address.is_loopback)
