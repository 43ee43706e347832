"""/me, /sessions, /logout and the password: a user's own, with a bearer token."""

from dataclasses import dataclass
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.account import administration as change
from service.account.bearer import Bearer, signed_in
from service.account.documentation import (
    DELETE_ME,
    END_SESSION,
    LOGOUT,
    LOGOUT_ALL,
    ME,
    SESSIONS,
    change_password,
)
from service.database import Database, Row
from service.errors import BearerError, Problem
from service.guessing import Guesses
from service.http import answer, caller_address, nothing, read_json
from service.revocation import Revocations
from service.routing import PlainRoute
from service.sessions import reading
from service.settings import Settings
from service.tokens.bearer import BearerGate
from service.users import store
from service.users.passwords import Passwords, WeakPassword
from service.users.store import User


def routes(
    settings: Settings,
    database: Database,
    revocations: Revocations,
    passwords: Passwords,
    guesses: Guesses,
    gate: BearerGate,
) -> APIRouter:
    """Return the account's endpoints."""
    account = Account(settings, database, revocations, passwords, guesses, gate)
    router = APIRouter(route_class=PlainRoute, tags=["account"])
    router.get("/me", **ME)(account.me)
    if settings.self_deletion == "on":
        router.delete("/me", **DELETE_ME)(account.delete_me)
    router.post("/me/password", **change_password(settings.password_min_length))(account.change_password)
    router.get("/sessions", **SESSIONS)(account.sessions)
    router.delete("/sessions/{sid}", **END_SESSION)(account.end_session)
    router.post("/logout", **LOGOUT)(account.logout)
    router.post("/logout/all", **LOGOUT_ALL)(account.logout_all)
    return router


@dataclass(frozen=True, slots=True)
class Account:
    """The endpoints, with what they draw on. Each begins at the gate."""

    settings: Settings
    database: Database
    revocations: Revocations
    passwords: Passwords
    guesses: Guesses
    gate: BearerGate

    async def me(self, request: Request) -> Response:
        """Return the user of the token."""
        bearer = await signed_in(self.gate, request)
        user = await _user(self.database, bearer.user_id)
        return answer(
            {
                "sub": str(user.id),
                "username": user.username,
                "email": user.email,
                "roles": list(user.roles),
                "created_at": user.created_at.isoformat(),
                "client_id": bearer.claims.client_id,
                "sid": str(bearer.session_id),
                "scope": " ".join(sorted(bearer.claims.scope)),
            }
        )

    async def change_password(self, request: Request) -> Response:
        """Set a new password; end every other session."""
        bearer = await signed_in(self.gate, request)
        body = await read_json(request)
        present, new = body.get("current_password"), body.get("new_password")
        if present is None or new is None:
            raise Problem("the members current_password and new_password are both needed", status=400)
        try:
            self.passwords.check_new(new)
        except WeakPassword as error:
            raise Problem(str(error), status=400) from None
        user = await self._proved(bearer, present, caller_address(request))
        ended = await change.change_password(
            self.revocations,
            user,
            await self.passwords.hash(new),
            bearer.session_id,
            self.settings.revocation_lifetime,
            address=caller_address(request),
        )
        if ended is None:
            raise Problem(_CHANGED, status=409)
        return answer({"sessions_ended": ended})

    async def delete_me(self, request: Request) -> Response:
        """Delete the user, with everything of theirs."""
        bearer = await signed_in(self.gate, request)
        present = (await read_json(request)).get("current_password")
        if present is None:
            raise Problem("the member current_password is needed", status=400)
        user = await self._proved(bearer, present, caller_address(request))
        deleted = await change.delete_user(
            self.revocations,
            user.id,
            self.settings.revocation_lifetime,
            proved=(user, bearer.session_id),
            address=caller_address(request),
        )
        if not deleted:
            raise Problem(_CHANGED, status=409)
        return nothing()

    async def sessions(self, request: Request) -> Response:
        """List the user's live sessions."""
        bearer = await signed_in(self.gate, request)
        async with self.database.connect() as db:
            rows = await reading.of_user(db, bearer.user_id)
        return answer({"sessions": [_session(row, bearer.session_id) for row in rows]})

    async def end_session(self, request: Request) -> Response:
        """End one of the user's sessions."""
        bearer = await signed_in(self.gate, request)
        session_id = _session_id(request)
        async with self.database.connect() as db:
            owner = session_id and await reading.owner(db, session_id)
        if session_id is None or owner != bearer.user_id:
            raise Problem("you have no session with this id", status=404)
        await change.sign_out(
            self.revocations,
            session_id,
            "logout",
            self.settings.revocation_lifetime,
            address=caller_address(request),
        )
        return nothing()

    async def logout(self, request: Request) -> Response:
        """End this session."""
        bearer = await signed_in(self.gate, request)
        await change.sign_out(
            self.revocations,
            bearer.session_id,
            "logout",
            self.settings.revocation_lifetime,
            address=caller_address(request),
        )
        return nothing()

    async def logout_all(self, request: Request) -> Response:
        """End every session of the user, and kill every token."""
        bearer = await signed_in(self.gate, request)
        await change.sign_out_everywhere(
            self.revocations,
            bearer.user_id,
            self.settings.revocation_lifetime,
            address=caller_address(request),
        )
        return nothing()

    async def _proved(self, bearer: Bearer, password: str, address: str | None) -> User:
        async with self.guesses.present_password(bearer.session_id, address) as guess:
            user = await _user(self.database, bearer.user_id)
            right, _ = await self.passwords.verify(password, user.password_hash)
            if not right:
                await guess.failed(user_id=user.id, client_id=bearer.claims.client_id)
                raise Problem("current_password is wrong", status=403, detail=f"user {user.id}")
            await guess.succeeded()
        return user


_CHANGED = "the account changed at the same moment; sign in and try again"


async def _user(database: Database, user_id: UUID) -> User:
    async with database.connect() as db:
        user = await store.by_id(db, user_id)
    if user is None or user.disabled:
        raise BearerError("invalid_token", "the user of this token is gone", detail=f"user {user_id}")
    return user


def _session_id(request: Request) -> UUID | None:
    try:
        return UUID(request.path_params["sid"])
    except ValueError:
        return None


def _session(row: Row, present: UUID) -> dict[str, object]:
    return {
        "sid": str(row["sid"]),
        "current": row["sid"] == present,
        "client_id": row["client_id"],
        "client_name": row["client_name"],
        "started_at": row["started_at"].isoformat(),
        "last_refreshed_at": row["refreshed_at"].isoformat() if row["generation"] else None,
        "expires_at": row["expires_at"].isoformat(),
        "scope": " ".join(sorted(row["scopes"])),
        "amr": list(row["amr"]),
        "address": row["address"],
        "user_agent": row["user_agent"],
    }
