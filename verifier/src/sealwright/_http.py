"""Asking the issuer: every answer bounded in size and in time."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus

import httpx2

from sealwright._discovery import Endpoints, Location, read_metadata
from sealwright._errors import ConfigurationError

MAX_BODY = 1 << 20
"""Bytes, unpacked. Metadata and keys are some thousand."""


class Unreachable(Exception):
    """The issuer could not be reached, or answered what is of no use. The text holds no secret."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the issuer's."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class IssuerClient:
    """One service's connections to its issuer."""

    def __init__(
        self,
        location: Location,
        *,
        credentials: tuple[str, str] | None,
        timeout: float,
        transport: httpx2.AsyncBaseTransport | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.location = location
        self._timeout = timeout
        # RFC 6749 2.3.1: each part form-encoded first.
        self._auth = httpx2.BasicAuth(*map(quote_plus, credentials)) if credentials else None
        # Redirects are not followed: credentials go where the settings say.
        self._http = httpx2.AsyncClient(
            transport=transport,
            verify=tls if tls is not None else True,
            timeout=timeout,
            follow_redirects=False,
            headers={"User-Agent": "sealwright"},
        )
        self._endpoints: Endpoints | None = None
        self._discovering = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def endpoints(self) -> Endpoints:
        """Return where to ask; the metadata is read once.

        Raises:
            Unreachable: it cannot be read now.
            ConfigurationError: the issuer goes by another name; the text says what to set.

        """
        async with self._discovering:
            if self._endpoints is None:
                url = self.location.metadata
                reply = await self.send("GET", url)
                found = read_metadata(reply.body, self.location) if reply.status == 200 else None
                if found is None:
                    raise Unreachable(f"{url} answered {reply.status} and no metadata of an issuer")
                self._endpoints = found
            return self._endpoints

    async def send(
        self,
        method: str,
        url: str,
        *,
        authenticate: bool = False,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        within: float | None = None,
        max_body: int = MAX_BODY,
    ) -> Reply:
        """Ask, and read all of the answer within `within` seconds.

        Raises:
            Unreachable: there is no answer, or it takes too long, or is larger than `max_body` bytes.

        """
        within = self._timeout if within is None else within
        try:
            async with (
                asyncio.timeout(within),
                self._http.stream(
                    method,
                    url,
                    headers=headers,
                    data=form,
                    auth=self._auth if authenticate else None,
                    timeout=httpx2.Timeout(within, connect=min(within, self._timeout)),
                ) as response,
            ):
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > max_body:
                        raise Unreachable(f"{url} answers more than {max_body} bytes")
                return Reply(response.status_code, response.headers, bytes(body))
        except TimeoutError:
            raise Unreachable(f"{url} did not answer within {within:g} s{self._hint()}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise Unreachable(f"{url}: {type(error).__name__}: {error}{self._hint()}") from None

    def _hint(self) -> str:
        host = httpx2.URL(self.location.base).host
        if self.location.internal_url is None and host in {"localhost", "127.0.0.1", "::1"}:
            return (
                f"; in a container, {host} is the container itself: set internal_url to the address that"
                " the issuer is reached at, such as http://sealwright:8000"
            )
        return ""


def refused(reply: Reply, what: str) -> None:
    """Turn a refusal of the credentials into words on what to change.

    Raises:
        ConfigurationError: the issuer does not know them, or does not let them do this.

    """
    if reply.status == 401:
        raise ConfigurationError(
            f"the issuer refuses client_id and client_secret for {what}: set those of this resource's client"
        )
    if reply.status == 403:
        raise ConfigurationError(
            f"the client may not use {what}: register it for this resource, or give it the scope revocations:read"
        )
