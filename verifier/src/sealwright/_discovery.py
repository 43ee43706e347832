"""Where the issuer's endpoints are (RFC 8414), and where they are from here."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from sealwright._encoding import parse_object
from sealwright._errors import ConfigurationError

_WELL_KNOWN = "/.well-known/oauth-authorization-server"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses to ask, as they are reached from here."""

    jwks: str
    introspection: str
    revocations: str


@dataclass(frozen=True, slots=True)
class Location:
    """The issuer's name, which stands in tokens, and the address that it is reached at.

    They differ in containers: tokens say `http://localhost:8000`, the network says `http://sealwright:8000`.

    Raises:
        ConfigurationError: one of them is not an absolute http or https URL without user, query and fragment.

    """

    issuer: str
    internal_url: str | None = None

    def __post_init__(self) -> None:
        for name, url in (("issuer", self.issuer), ("internal_url", self.internal_url)):
            if url is not None and not _is_plain(url):
                raise ConfigurationError(f"{name} must be an http or https URL without user and query")

    @property
    def base(self) -> str:
        """The address that everything is asked at."""
        return (self.internal_url or self.issuer).rstrip("/")

    @property
    def metadata(self) -> str:
        """The metadata's address: the well-known part goes between host and path (RFC 8414 3.1)."""
        parts = urlsplit(self.base)
        return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{parts.path}"

    def reached(self, url: str) -> str:
        """Return where an endpoint that the metadata names is reached from here.

        Raises:
            ConfigurationError: it is not below the issuer's own URL. Keys would come, and credentials go, by a
                host that the settings do not name, or in the clear.

        """
        name = self.issuer.rstrip("/")
        if not url.startswith(f"{name}/"):
            raise ConfigurationError(
                f"the issuer names an endpoint that is not below {self.issuer!r}: {url!r}; have it name its own"
            )
        return f"{self.base}{url[len(name) :]}"


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and not ("@" in parts.netloc or parts.query or parts.fragment)
        )
    except ValueError:  # no port, or half of an IPv6 address
        return False


def read_metadata(body: bytes, location: Location) -> Endpoints | None:
    """Read the metadata, or None if it is none.

    Raises:
        ConfigurationError: the issuer there goes by another name. Its tokens would all be refused, and taking
            its word for a name is how one issuer passes for another (RFC 8414 3.3). Or as `reached`.

    """
    members = parse_object(body)
    if members is None:
        return None
    match members:
        case {"issuer": str(issuer), "jwks_uri": str(jwks)}:
            if issuer != location.issuer:
                raise ConfigurationError(_mismatch(issuer, location))
            introspection = members.get("introspection_endpoint", f"{issuer.rstrip('/')}/introspect")
            feed = members.get("revocation_feed", f"{issuer.rstrip('/')}/revocations")
            if isinstance(introspection, str) and isinstance(feed, str):
                return Endpoints(*(location.reached(url) for url in (jwks, introspection, feed)))
    return None


def _mismatch(issuer: str, location: Location) -> str:
    reached = (
        f"the issuer at {location.base} calls itself {issuer!r}, this service trusts {location.issuer!r}: "
    )
    if issuer.rstrip("/") == location.base:
        return f"{reached}set issuer={issuer!r}"
    return f"{reached}set issuer={issuer!r} and internal_url={location.base!r}"
