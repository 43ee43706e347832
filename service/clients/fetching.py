"""Fetching a document from a URL that a client's owner chose, without becoming their way into our network."""

import asyncio
import socket
import ssl

import httpx2

from service.clients.addresses import allowed

MAX_DOCUMENT = 64 * 1024
PATIENCE = 3.0
"""Seconds for all of it: looking the name up, connecting, reading."""
MOST_ADDRESSES = 3
"""How many of a name's addresses are tried."""


class NotFetched(Exception):
    """The document could not be had; the text is for the log, and holds nothing of what was received."""


class Fetcher:
    """Fetches documents over https from public addresses alone.

    A name is looked up here, each of its addresses is checked, and the connection goes to one that was: a name
    that means something else a moment later is no way around the check. The certificate must still be the name's.
    """

    def __init__(self, *, loopback: bool) -> None:
        self._loopback = loopback
        self._trust: ssl.SSLContext | None = None

    async def fetch(self, url: str) -> bytes:
        """Return the body of a 200, of at most 64 KiB.

        Raises:
            NotFetched: there is none, or it is somewhere that we do not go.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._fetch(httpx2.URL(url))
        except TimeoutError:
            raise NotFetched(f"no answer within {PATIENCE:.0f} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
            raise NotFetched(type(error).__name__) from error

    async def _fetch(self, url: httpx2.URL) -> bytes:
        if url.scheme != "https" or not url.host:
            raise NotFetched("not an https URL")
        addresses = await self._resolve(url)
        if self._trust is None:
            # Reading the machine's certificates takes tens of milliseconds.
            self._trust = await asyncio.to_thread(ssl.create_default_context)
        async with httpx2.AsyncClient(
            verify=self._trust, trust_env=False, follow_redirects=False, timeout=PATIENCE
        ) as http:
            *others, last = addresses
            for address in others:
                try:
                    return await _read(http, url, address)
                except httpx2.ConnectError:
                    continue
            return await _read(http, url, last)

    async def _resolve(self, url: httpx2.URL) -> list[str]:
        loop = asyncio.get_running_loop()
        host = url.raw_host.decode("ascii")
        found = await loop.getaddrinfo(host, url.port or 443, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        # One address inside is enough to refuse the name: which of them is used must not be a matter of luck.
        if not addresses or not all(allowed(address, loopback=self._loopback) for address in addresses):
            raise NotFetched("the name leads to an address that is not public")
        return addresses[:MOST_ADDRESSES]


async def _read(http: httpx2.AsyncClient, url: httpx2.URL, address: str) -> bytes:
    request = http.build_request(
        "GET",
        url.copy_with(host=address),
        headers={
            "Host": url.netloc.decode("ascii"),
            "Accept": "application/jwk-set+json, application/json",
            "Accept-Encoding": "identity",
        },
        # The name, and not the address, is what the certificate is checked against.
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    )
    answer = await http.send(request, stream=True)
    try:
        if answer.status_code != 200:
            raise NotFetched(f"status {answer.status_code}")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise NotFetched("a compressed body, which was not asked for")
        body = bytearray()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > MAX_DOCUMENT:
                raise NotFetched("more than 64 KiB")
        return bytes(body)
    finally:
        await answer.aclose()
