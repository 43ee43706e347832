"""Making resources, roles and clients what a file declares, in one transaction, and saying what that changes."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from service import audit
from service.account.declared import Declared, DeclaredClient, differing
from service.account.registration import in_words
from service.catalog import changed
from service.clients import rules, secrets, store
from service.clients.rules import NotAllowed
from service.clients.secrets import Secret
from service.database import Row
from service.revocation import Revocation, Revoking
from service.settings import Settings
from service.users import roles

Part = Literal["resources", "roles", "clients"]
PARTS: tuple[Part, ...] = ("resources", "roles", "clients")
Action = Literal["add", "change", "remove", "disable", "enable"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that becomes what the file says."""

    part: Part
    name: str
    action: Action
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """What it was and what it becomes, by name."""


@dataclass(slots=True)
class Applied:
    """What was done, or would be."""

    changes: list[Change] = field(default_factory=list)
    made_secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """By client_id; shown once."""


async def apply(
    revoking: Revoking, declared: Declared, settings: Settings, *, prune: bool, dry_run: bool
) -> Applied:
    """Make what is registered what is declared; with `prune`, who is not named is disabled or removed.

    Everything is looked at with the clients' rows locked, so two who apply at once come one after the other.
    With `dry_run` nothing is written.

    Raises:
        NotAllowed: something may not be so; nothing is done.
    """
    work = _Work(revoking, declared, settings, prune=prune, dry_run=dry_run)
    async with in_words():
        await work.all()
    return work.done


class _Work:
    def __init__(
        self, revoking: Revoking, declared: Declared, settings: Settings, *, prune: bool, dry_run: bool
    ) -> None:
        self._revoking = revoking
        self._db = revoking.db
        self._declared = declared
        self._settings = settings
        self._prune = prune
        self._write = not dry_run
        self._clients: dict[str, Row] = {}
        self._resources: dict[str, Row] = {}
        self._roles: roles.Roles = {}
        self.done = Applied()

    async def all(self) -> None:
        """Do the whole work, or raise."""
        await self._look()
        # What refers to another by the database's own hand, a resource to a client, comes after it; what goes, last.
        for client_id, client in (self._declared.clients or {}).items():
            await self._client(client_id, client)
        for uri, resource in (self._declared.resources or {}).items():
            values = {"scopes": _distinct(resource.scopes), "client_id": resource.client_id}
            await self._resource(uri, values)
        for name, role in (self._declared.roles or {}).items():
            await self._role(name, {"scopes": _distinct(role.scopes)})
        if self._prune:
            await self._remove_the_rest()
        if self.done.changes and self._write:
            await changed(self._db)

    async def _look(self) -> None:
        self._clients = {row["id"]: row for row in await store.lock_all(self._db)}
        self._resources = {row["uri"]: row for row in await store.resources_listed(self._db)}
        self._roles = await roles.load(self._db)

    async def _client(self, client_id: str, declared: DeclaredClient) -> None:
        row = self._clients.get(client_id)
        values = self._checked(client_id, declared)
        live, made = _secrets(row, declared, has_keys=bool(values["jwks"] or values["jwks_uri"]))
        its_secrets = secrets.columns(live, confidential=not declared.public)
        after = {**values, "public": declared.public, "secrets": [secret.fingerprint for secret in live]}
        if row is None:
            self._note("clients", client_id, "add", _set(after))
            if made is not None:
                self.done.made_secrets[client_id] = made
            if self._write:
                await store.insert(self._db, client_id, values, its_secrets)
                await audit.record(self._db, "client.added", client_id=client_id)
        else:
            before = {name: row[name] for name in store.SETTABLE}
            before |= {
                "public": row["secret_sha256"] is None,
                "secrets": [secret.fingerprint for secret in secrets.of(row)],
            }
            if fields := differing(before, after):
                self._note("clients", client_id, "change", fields)
                if made is not None:
                    self.done.made_secrets[client_id] = made
                if self._write:
                    await store.change(self._db, client_id, values, its_secrets)
                    await audit.record(
                        self._db, "client.changed", client_id=client_id, detail=" ".join(fields)
                    )
        is_disabled = row is not None and row["disabled_at"] is not None
        if declared.disabled is not None and declared.disabled != is_disabled:
            await self._switch(client_id, disabled=declared.disabled)

    def _checked(self, client_id: str, declared: DeclaredClient) -> dict[str, Any]:
        values: dict[str, Any] = {
            name: _distinct(value) if isinstance(value := getattr(declared, name), list) else value
            for name in store.SETTABLE
        }
        values["name"] = declared.name or client_id
        values["jwks"] = None if declared.jwks is None else json.dumps(declared.jwks)
        with _about(f"clients.{client_id}"):
            if declared.public and declared.secret_sha256:
                raise NotAllowed("A public client has no secret")
            rules.check_client(
                client_id,
                public=declared.public,
                grant_types=declared.grant_types,
                first_party=declared.first_party,
                scopes=declared.scopes,
                default_scopes=declared.default_scopes,
                resources=declared.resources,
                default_resources=declared.default_resources,
            )
            rules.check_lifetimes(
                self._settings,
                access_token_lifetime=declared.access_token_lifetime,
                refresh_token_idle=declared.refresh_token_idle,
                session_lifetime=declared.session_lifetime,
                refresh_grace=declared.refresh_grace,
            )
            rules.check_origins(declared.origins, public=declared.public)
            values["jwks"] = rules.check_keys(
                public=declared.public, jwks=values["jwks"], jwks_uri=declared.jwks_uri
            )
            self._check_resources(declared.resources)
        return values

    def _check_resources(self, uris: Collection[str]) -> None:
        for uri in uris:
            if uri not in self._left():
                raise NotAllowed(
                    f"There is no resource {uri!r}; name it under resources, and apply the whole file"
                )

    def _left(self) -> Collection[str]:
        """Return the resources that there will be."""
        named = self._declared.resources
        if named is None:
            return self._resources.keys()
        return named.keys() if self._prune else named.keys() | self._resources.keys()

    async def _resource(self, uri: str, values: dict[str, Any]) -> None:
        client_id = values["client_id"]
        with _about(f"resources.{uri}"):
            rules.check_resource(uri, values["scopes"], self._settings.issuer)
            if client_id is not None and client_id not in {*self._clients, *(self._declared.clients or {})}:
                raise NotAllowed(
                    f"There is no client {client_id!r}; name it under clients, and apply the whole file"
                )
        row = self._resources.get(uri)
        fields = _set(values) if row is None else differing(dict(row), values)
        if row is not None and not fields:
            return
        self._note("resources", uri, "add" if row is None else "change", fields)
        if self._write:
            if row is None:
                await store.add_resource(self._db, uri=uri, **values)
            else:
                await store.change_resource(self._db, uri=uri, **values)
            event: audit.Event = "resource.added" if row is None else "resource.changed"
            await audit.record(self._db, event, client_id=client_id, detail=uri)

    async def _role(self, name: str, values: dict[str, Any]) -> None:
        with _about(f"roles.{name}"):
            rules.check_scopes(values["scopes"])
            rules.check_role_name(name)
        present = self._roles.get(name)
        fields = _set(values) if present is None else differing({"scopes": sorted(present)}, values)
        if present is not None and not fields:
            return
        self._note("roles", name, "add" if present is None else "change", fields)
        if self._write:
            await (roles.add if present is None else roles.change)(self._db, name=name, **values)
            event: audit.Event = "role.added" if present is None else "role.changed"
            await audit.record(self._db, event, detail=" ".join((name, *values["scopes"])))

    async def _remove_the_rest(self) -> None:
        """Do away with what the parts of the file do not name.

        A client is disabled and not deleted: its epoch must outlive it, or a client that is later given the same
        name would bring its tokens back to life.
        """
        if self._declared.clients is not None:
            for client_id in sorted(self._clients.keys() - self._declared.clients.keys()):
                if self._clients[client_id]["disabled_at"] is None:
                    await self._switch(client_id, disabled=True)
        if self._declared.resources is not None:
            for uri in sorted(self._resources.keys() - self._declared.resources.keys()):
                await self._remove_resource(uri)
        if self._declared.roles is not None:
            for name in sorted(self._roles.keys() - self._declared.roles.keys()):
                await self._remove_role(name)

    async def _remove_resource(self, uri: str) -> None:
        named = self._declared.clients or {}
        for client_id, row in self._clients.items():
            # Those that the file names have been held against it; a disabled one may keep a name that means nothing.
            pruned = self._declared.clients is not None
            if client_id not in named and not pruned and uri in row["resources"]:
                raise NotAllowed(
                    f"resources.{uri}: the client {client_id} uses it; name it, or change the client"
                )
        self._note("resources", uri, "remove")
        if self._write:
            await store.remove_resource(self._db, uri)
            await audit.record(self._db, "resource.removed", detail=uri)

    async def _remove_role(self, name: str) -> None:
        holders = await roles.holders(self._db, name)
        if holders:
            raise NotAllowed(
                f"roles.{name}: {holders} users have it; take it from them first: sealwright users roles"
            )
        self._note("roles", name, "remove")
        if self._write:
            await roles.remove(self._db, name)
            await audit.record(self._db, "role.removed", detail=name)

    async def _switch(self, client_id: str, *, disabled: bool) -> None:
        self._note("clients", client_id, "disable" if disabled else "enable")
        if not self._write:
            return
        lifetime: timedelta = self._settings.revocation_lifetime
        if disabled:
            await store.disable(self._db, client_id)
            self._revoking.revoke(Revocation("client_id", client_id, "client_disabled", lifetime))
            await audit.record(self._db, "client.disabled", client_id=client_id)
        else:
            epoch = await store.enable(self._db, client_id)
            self._revoking.revoke(Revocation("client_id", client_id, "client_enabled", lifetime, epoch))
            await audit.record(self._db, "client.enabled", client_id=client_id)

    def _note(
        self, part: Part, name: str, action: Action, fields: Mapping[str, tuple[Any, Any]] | None = None
    ) -> None:
        self.done.changes.append(Change(part, name, action, fields or {}))


@contextmanager
def _about(what: str) -> Iterator[None]:
    """Say of what in the file something is not allowed."""
    try:
        yield
    except NotAllowed as error:
        raise NotAllowed(f"{what}: {error}") from None


def _secrets(row: Row | None, declared: DeclaredClient, *, has_keys: bool) -> tuple[list[Secret], str | None]:
    """Return the secrets that a client will have, and the one that was made for it, if it has nothing else."""
    present = [] if row is None else secrets.of(row)
    if declared.public:
        return [], None
    if declared.secret_sha256 is not None:
        known = {secret.digest: secret for secret in present}
        digests = [bytes.fromhex(digest) for digest in _distinct(declared.secret_sha256)]
        kept = [known.get(digest) or secrets.made_now(digest) for digest in digests]
        return sorted(kept, key=lambda secret: secret.made_at), None
    if present or has_keys:
        return present, None
    made = store.new_secret()
    return [secrets.made_now(store.digest(made))], made


def _set(values: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what of a new thing says anything."""
    return {name: (None, value) for name, value in values.items() if value not in (None, [], False)}


def _distinct(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))
