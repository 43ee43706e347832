"""Who may: rules about a caller, and about a caller and a resource. `a & b` needs both, `a | b` either."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sealwright._claims import Claims

Policy = Callable[[Claims, Any], bool | Awaitable[bool]]


class Rule:
    """A rule: one of those below, a closed set."""

    __slots__ = ()

    def __and__(self, other: "Rule") -> "Rule":
        return Both(self, other)

    def __or__(self, other: "Rule") -> "Rule":
        return Either(self, other)

    def decided(self, caller: Claims) -> bool | None:
        """Whether the caller may, as far as it can be told without the resource; None if it cannot."""
        raise NotImplementedError

    async def permits(self, caller: Claims, resource: object) -> bool:  # noqa: ARG002  # policies ask it
        """Whether the caller may do this with this resource."""
        return self.decided(caller) is True

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that it names, for the documentation and for the challenge."""
        return ()

    @property
    def asks_resource(self) -> bool:
        """Whether a policy is in it."""
        return False


@dataclass(frozen=True, slots=True)
class Scopes(Rule):
    """The token has all of these scopes."""

    needed: frozenset[str]

    def decided(self, caller: Claims) -> bool:
        """Compare with what was granted."""
        return self.needed <= caller.scope

    @property
    def scopes(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(sorted(self.needed))


@dataclass(frozen=True, slots=True)
class Roles(Rule):
    """The user has one of these roles. A program on its own has none."""

    any_of: frozenset[str]

    def decided(self, caller: Claims) -> bool:
        """Compare with the roles in the token."""
        return not self.any_of.isdisjoint(caller.roles)


@dataclass(frozen=True, slots=True)
class Allowed(Rule):
    """A policy says yes; nothing but True is a yes."""

    policy: Policy

    def decided(self, caller: Claims) -> None:  # noqa: ARG002  # nothing can be told
        """Leave it open."""
        return

    async def permits(self, caller: Claims, resource: object) -> bool:
        """Ask the policy."""
        answer = self.policy(caller, resource)
        if inspect.isawaitable(answer):
            answer = await answer
        return answer is True

    @property
    def asks_resource(self) -> bool:
        """Yes."""
        return True


@dataclass(frozen=True, slots=True)
class _Pair(Rule):
    left: Rule
    right: Rule

    @property
    def scopes(self) -> tuple[str, ...]:
        """Those of both."""
        return tuple(dict.fromkeys((*self.left.scopes, *self.right.scopes)))

    @property
    def asks_resource(self) -> bool:
        """Whether one of them does."""
        return self.left.asks_resource or self.right.asks_resource


class Both(_Pair):
    """Both hold."""

    __slots__ = ()

    def decided(self, caller: Claims) -> bool | None:
        """No as soon as one says no."""
        said = self.left.decided(caller), self.right.decided(caller)
        if False in said:
            return False
        return None if None in said else True

    async def permits(self, caller: Claims, resource: object) -> bool:
        """Ask the second only if the first says yes."""
        return await self.left.permits(caller, resource) and await self.right.permits(caller, resource)


class Either(_Pair):
    """One of them holds."""

    __slots__ = ()

    def decided(self, caller: Claims) -> bool | None:
        """Yes as soon as one says yes."""
        said = self.left.decided(caller), self.right.decided(caller)
        if True in said:
            return True
        return None if None in said else False

    async def permits(self, caller: Claims, resource: object) -> bool:
        """Ask the second only if the first says no."""
        return await self.left.permits(caller, resource) or await self.right.permits(caller, resource)


def scopes(*needed: str) -> Rule:
    """Require every one of these scopes.

    Raises:
        ValueError: none is given, or one cannot be a scope (RFC 6749 3.3).

    """
    if not needed or not all(name and not set(name) & set(' "\\') and name.isascii() for name in needed):
        raise ValueError("name at least one scope; a scope has no space, quote or backslash")
    return Scopes(frozenset(needed))


def roles(*any_of: str) -> Rule:
    """Require one of these roles.

    Raises:
        ValueError: none is given.

    """
    if not any_of:
        raise ValueError("name at least one role")
    return Roles(frozenset(any_of))


def allow(policy: Policy) -> Rule:
    """Require that `policy(caller, resource)`, sync or async, answers True."""
    return Allowed(policy)
