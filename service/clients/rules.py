"""What may be registered: the forms of names and secrets, as they stand on the wire. Pure functions."""

import re
from collections.abc import Iterable
from datetime import timedelta
from urllib.parse import urlsplit

from sealwright import InvalidKey
from service.clients import keys
from service.clients.directory import OWN_SCOPES
from service.clients.store import GRANT_TYPES, is_user_id
from service.settings import PREFIX, Settings

_SCOPE = re.compile(r"[!#-\[\]-~]{1,128}")  # RFC 6749 3.3; of a bounded length, for it goes into tokens
_CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_ROLE = re.compile(r"[!#-\[\]-~]{1,64}")
_SECRET = re.compile(r"[ -~]+")  # RFC 6749 A.2
_ABSOLUTE = re.compile(
    r"(?i)[a-z][a-z0-9+.-]*:(?:[a-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9a-f]{2})+"
)  # RFC 3986 4.3
_MAX_URI = 512
_MAX_ORIGINS = 32
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_MIN_SECRET = 32

# Verifiers take tokens of at most 8,192 characters, and 256 names in a claim. A header and a signature of RSA-4096
# leave 5,547 bytes of claims (base64url writes 3 bytes as 4 characters). Ids, times and an issuer of 255 characters,
# which is in `aud` as well, need 900 of them at the most; each role and resource, besides its name, quotes and a comma.
_MAX_SCOPES = (200, 2000)
_MAX_RESOURCES = (100, 1000)
_MAX_ROLES = (100, 1000)


class NotAllowed(ValueError):
    """Something cannot be registered as it is; the text says why and what would do."""


def check_scopes(scopes: Iterable[str]) -> None:
    """Refuse what is no scope token."""
    for scope in scopes:
        if not _SCOPE.fullmatch(scope):
            raise NotAllowed(
                f"{scope!r} cannot be a scope: 1 to 128 ASCII characters, without spaces, quotes and backslashes; "
                "name each scope by an option of its own"
            )


def check_resource(uri: str, scopes: Iterable[str], issuer: str) -> None:
    """Refuse what no resource may be (RFC 8707 2), and the issuer, which is one by itself."""
    if uri.rstrip("/").lower() == issuer.lower():
        raise NotAllowed("The issuer is a resource by itself; it needs no row")
    if len(uri) > _MAX_URI or not _is_absolute(uri):
        raise NotAllowed(
            f"A resource is an absolute URI without a fragment, of at most {_MAX_URI} characters, "
            "e.g. https://orders.example.com"
        )
    check_scopes(scopes)
    if own := OWN_SCOPES.intersection(scopes):
        raise NotAllowed(
            f"The scope {min(own)} is the issuer's own: what it allows is done here, at no other resource"
        )


def _is_absolute(uri: str) -> bool:
    if not _ABSOLUTE.fullmatch(uri):
        return False
    try:
        parts = urlsplit(uri)
        return parts.scheme not in {"http", "https"} or bool(parts.hostname)
    except ValueError:  # of a host in brackets that is no address
        return False


def check_client(
    client_id: str,
    *,
    public: bool,
    grant_types: Iterable[str],
    first_party: bool,
    scopes: Iterable[str],
    default_scopes: Iterable[str],
    resources: Iterable[str],
    default_resources: Iterable[str],
) -> None:
    """Refuse a client that could not work, or that nobody should have."""
    if not _CLIENT_ID.fullmatch(client_id):
        raise NotAllowed("A client_id is 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -")
    if is_user_id(client_id):
        raise NotAllowed("A client_id must not have the form of a user's id, or tokens of both look alike")
    for grant_type in grant_types:
        if grant_type not in GRANT_TYPES:
            raise NotAllowed(f"There is no grant {grant_type!r}; choose from: {', '.join(GRANT_TYPES)}")
    if public and "client_credentials" in grant_types:
        raise NotAllowed(
            "A public client cannot have client_credentials: it has nothing to prove itself with"
        )
    if not first_party and "password" in grant_types:
        raise NotAllowed("The password grant is for first-party clients only; if it is ours: --first-party")
    check_scopes([*scopes, *default_scopes])
    _check_size(scopes, _MAX_SCOPES, "scopes of a client")
    _check_size(resources, _MAX_RESOURCES, "resources of a client")
    _check_among(default_scopes, scopes, "scope")
    _check_among(default_resources, resources, "resource")


def check_lifetimes(
    settings: Settings,
    *,
    access_token_lifetime: timedelta | None = None,
    refresh_token_idle: timedelta | None = None,
    session_lifetime: timedelta | None = None,
    refresh_grace: timedelta | None = None,
) -> None:
    """Refuse lifetimes beyond the deployment's: revocations and retired keys are kept no longer than for those."""
    bounds = {
        "access_token_lifetime": (access_token_lifetime, "max_access_token_lifetime"),
        "refresh_token_idle": (refresh_token_idle, "refresh_token_idle"),
        "session_lifetime": (session_lifetime, "session_lifetime"),
    }
    for name, (wanted, most) in bounds.items():
        if wanted is None:
            continue
        if wanted < timedelta(seconds=1):
            raise NotAllowed(f"The {name} of a client is one second at the least")
        if wanted > getattr(settings, most):
            raise NotAllowed(f"The {name} of a client must not be longer than {PREFIX}{most.upper()}")
    if refresh_grace is None:
        return
    if refresh_grace < timedelta(0):
        raise NotAllowed("The refresh_grace of a client must not be negative")
    if refresh_token_idle is None and refresh_grace >= settings.refresh_token_idle:
        raise NotAllowed(f"The refresh_grace of a client must be shorter than {PREFIX}REFRESH_TOKEN_IDLE")
    if refresh_token_idle is not None and refresh_grace >= refresh_token_idle:
        raise NotAllowed("The refresh_grace of a client must be shorter than its refresh_token_idle")


def check_keys(*, public: bool, jwks: str | None, jwks_uri: str | None) -> str | None:
    """Refuse keys that nobody could prove a client by; return the JWKS as it is to be stored."""
    if jwks is not None and jwks_uri is not None:
        raise NotAllowed("A client has a jwks or a jwks_uri, not both (RFC 7591 2)")
    if public and (jwks or jwks_uri):
        raise NotAllowed("A public client has no keys; leave out that it is public")
    if jwks_uri is not None:
        _check_jwks_uri(jwks_uri)
    if jwks is None:
        return None
    try:
        return keys.canonical(keys.parse(jwks))
    except InvalidKey as error:
        raise NotAllowed(
            f"This cannot be a client's jwks: {error}. It takes public keys, each with a kid: "
            "RSA of 2048 to 4096 bits, P-256 or Ed25519"
        ) from None


def _check_jwks_uri(uri: str) -> None:
    parts = urlsplit(uri) if _is_absolute(uri) else urlsplit("")
    if parts.scheme != "https" or "@" in parts.netloc or len(uri) > _MAX_URI:
        raise NotAllowed(
            f"A jwks_uri is an https URL without a fragment and a user name, of at most {_MAX_URI} characters"
        )


def check_origins(origins: Iterable[str], *, public: bool) -> None:
    """Refuse what no browser sends as `Origin` (RFC 6454 6.2), and what anybody on the way could be."""
    origins = list(origins)
    if origins and not public:
        raise NotAllowed("Origins are for public clients: a program in a browser cannot keep a secret")
    if len(origins) > _MAX_ORIGINS:
        raise NotAllowed(f"A client has {_MAX_ORIGINS} origins at most")
    for origin in origins:
        found = _ORIGIN.fullmatch(origin)
        if (
            found is None
            or (found["scheme"] == "http" and found["host"] not in _LOOPBACK)
            or found["port"] == _USUAL_PORT[found["scheme"]]
        ):
            raise NotAllowed(
                f"{origin!r} cannot be an origin: write it as browsers send it, https://app.example.com, in lower "
                "case, without a path, a slash at the end and the usual port; http is for localhost alone"
            )


_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_USUAL_PORT = {"https": "443", "http": "80"}


def check_role_name(name: str) -> None:
    """Refuse what cannot be a role's name."""
    if not _ROLE.fullmatch(name):
        raise NotAllowed("A role's name is 1 to 64 ASCII characters, without spaces, quotes and backslashes")


def check_roles(names: Iterable[str]) -> None:
    """Refuse roles that are too many for one user."""
    _check_size(names, _MAX_ROLES, "roles of a user")


def check_secret(secret: str) -> None:
    """Refuse a secret that was not made at random: it is kept under a fast hash."""
    if len(secret) < _MIN_SECRET:
        raise NotAllowed(
            f"The secret is too short: give at least {_MIN_SECRET} random characters, "
            "or leave it out and have one made"
        )
    if not _SECRET.fullmatch(secret):
        raise NotAllowed("A client secret holds printable ASCII only (RFC 6749 A.2)")


def _check_size(names: Iterable[str], most: tuple[int, int], what: str) -> None:
    names = list(names)
    count, characters = most
    if len(names) > count or len(" ".join(names)) > characters:
        raise NotAllowed(
            f"The {what} may be {count} at most, and {characters:,} characters long with a space between each two: "
            "they are in its tokens, which must stay below 8,192 characters or nobody accepts them"
        )


def _check_among(defaults: Iterable[str], all_: Iterable[str], what: str) -> None:
    missing = [name for name in defaults if name not in all_]
    if missing:
        raise NotAllowed(f"A default {what} must be one of the client's: give --{what} {missing[0]} as well")
