"""What is granted: asked ∩ the client's ∩ the user's ∩ what the audience understands. Pure functions."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from service.clients.directory import ACCOUNT, Client, Directory
from service.errors import OAuthError

_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")  # RFC 6749 3.3


@dataclass(frozen=True, slots=True)
class Asked:
    """The `scope` and `resource` parameters of a token request, each resource once. Scope None: none was asked for."""

    scope: frozenset[str] | None
    resources: tuple[str, ...]


def parse_scope(value: str | None) -> frozenset[str] | None:
    """Parse a `scope` parameter.

    Raises:
        OAuthError: `invalid_scope`, it is malformed.
    """
    if value is None:
        return None
    if not _SCOPE.fullmatch(value):
        raise OAuthError("invalid_scope", "scope is a list of names with one space between them")
    return frozenset(value.split(" "))


def audience(asked: Asked, client: Client, directory: Directory) -> tuple[str, ...]:
    """Return the audience of a new token: the resources asked for, else the client's default.

    Raises:
        OAuthError: `invalid_target` (RFC 8707 2), the client may not ask for one, or there is none.
    """
    check_resources(asked.resources, client, directory)
    chosen = asked.resources or directory.default_audience(client)
    if not chosen:
        raise OAuthError("invalid_target", "name a resource: this client has no default one")
    return chosen


def check_resources(resources: Collection[str], client: Client, directory: Directory) -> None:
    """Refuse a resource that the client may not ask for, with `invalid_target`."""
    if not directory.may_ask(client).issuperset(resources):
        raise OAuthError(
            "invalid_target", "a resource asked for is unknown, or not one that this client may use"
        )


def check_known(scope: Collection[str] | None, directory: Directory) -> None:
    """Refuse a scope that no resource understands and so nobody may have, with `invalid_scope`."""
    if scope and not directory.known_scopes.issuperset(scope):
        raise OAuthError("invalid_scope", "a scope asked for does not exist")


def granted(
    asked: frozenset[str] | None,
    client: Client,
    understood: frozenset[str],
    carried: frozenset[str] | None,
) -> frozenset[str]:
    """Return the scope of a new grant. `carried` None: no user is involved.

    Raises:
        OAuthError: `invalid_scope`, nothing of what was asked for can be granted.
    """
    scope = (client.default_scopes if asked is None else asked) & client.scopes & understood
    scope &= of_users(carried) if carried is not None else scope - {ACCOUNT}
    if asked and not scope:
        raise OAuthError(
            "invalid_scope", "nothing of the scope asked for can be granted to this client or user here"
        )
    return scope


def of_users(carried: frozenset[str]) -> frozenset[str]:
    """Return what a user may be granted whose roles carry this: their own account needs no role."""
    return carried | {ACCOUNT}
