"""Whose word counts about where a request came from."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.proxies import TrustedProxies
from service.settings import ProxyHeader

TRUSTED = tuple(ip_network(each) for each in ("10.0.0.0/8", "fd00::/8"))
PROXY = "10.0.0.1"
XFF: ProxyHeader = "X-Forwarded-For"


def client(*lines: str, peer: str = PROXY, header: ProxyHeader = XFF, name: str | None = None) -> str:
    headers = [((name or header).lower().encode(), line.encode("latin-1")) for line in lines]
    found = TrustedProxies(TRUSTED, header).client({"client": (peer, 4711), "headers": headers})
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("line", "is_from"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.2.3.4, 10.9.9.9", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("10.2.3.4, 10.9.9.9", "10.2.3.4"),
    ],
)
def test_the_client_is_the_last_that_is_no_trusted_proxy(line: str, is_from: str) -> None:
    assert client(line) == is_from


def test_several_lines_are_one_list() -> None:
    assert client("198.51.100.1", "203.0.113.7", "10.5.5.5") == "203.0.113.7"


def test_a_stranger_who_sends_the_header_is_himself() -> None:
    assert client("203.0.113.7", peer="198.51.100.9") == "198.51.100.9"


def test_a_proxy_that_is_seen_through_ipv6_is_known() -> None:
    assert client("203.0.113.7", peer="::ffff:10.0.0.1") == "203.0.113.7"


@pytest.mark.parametrize(
    "junk", ["", "unknown", "localhost", "203.0.113.7.8", "fe80::1%eth0", "_hidden", "'; --"]
)
def test_junk_is_ignored_and_so_is_what_stands_before_it(junk: str) -> None:
    assert client(f"203.0.113.7, {junk}") == PROXY
    assert client(f"203.0.113.7, {junk}, 10.5.5.5") == "10.5.5.5"


@pytest.mark.parametrize(
    ("line", "is_from"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ('For="[2001:db8::7]:4711";proto=https;by=10.0.0.1', "2001:db8::7"),
        ("for=198.51.100.1, for=203.0.113.7;proto=http, for=10.3.3.3", "203.0.113.7"),
        ('for="203.0.113.7:80"', "203.0.113.7"),
        ("for=unknown", PROXY),
        ("for=_secret", PROXY),
        ("proto=https", PROXY),
        # A quote that the client left open does not swallow what the proxy appended.
        ('for="198.51.100.1, for=203.0.113.7', "203.0.113.7"),
    ],
)
def test_rfc_7239_is_read_where_it_is_configured(line: str, is_from: str) -> None:
    assert client(line, header="Forwarded") == is_from


@pytest.mark.parametrize(("header", "other"), [("Forwarded", "x-forwarded-for"), (XFF, "forwarded")])
def test_the_header_that_the_proxies_do_not_write_is_not_read(header: ProxyHeader, other: str) -> None:
    assert client("203.0.113.7", header=header, name=other) == PROXY
    assert client("for=203.0.113.7", header=header, name=other) == PROXY


def test_a_row_of_proxies_without_end_is_not_followed() -> None:
    assert client("203.0.113.7" + ", 10.0.0.2" * 5000) == "10.0.0.2"


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=40), max_size=4))
def test_whatever_a_client_writes_the_proxys_own_entry_decides(lines: list[str]) -> None:
    assert client(*lines, "203.0.113.7") == "203.0.113.7"
    assert client(*lines, "for=203.0.113.7", header="Forwarded") == "203.0.113.7"


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=40), max_size=4))
def test_from_a_stranger_no_header_counts(lines: list[str]) -> None:
    assert client(*lines, peer="198.51.100.9") == "198.51.100.9"
