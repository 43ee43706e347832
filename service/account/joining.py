"""POST /users: where anybody may make themselves a user."""

from dataclasses import dataclass
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.account.documentation import register
from service.account.registration import Refused, check_sign_up, sign_up
from service.clients.rules import NotAllowed
from service.database import Database
from service.errors import Problem, Unavailable
from service.guessing import Guesses
from service.http import answer, caller_address, read_json
from service.routing import PlainRoute
from service.settings import Settings
from service.users.passwords import Passwords, WeakPassword
from service.users.store import normalised


def routes(settings: Settings, database: Database, passwords: Passwords, guesses: Guesses) -> APIRouter:
    """Return the endpoint; nothing at all where registration is off."""
    router = APIRouter(route_class=PlainRoute, tags=["account"])
    if settings.registration == "open":
        join = router.post("/users", **register(settings.password_min_length))
        join(Joining(settings, database, passwords, guesses).register)
    return router


@dataclass(frozen=True, slots=True)
class Joining:
    """The endpoint, with what it draws on. Who calls proves nothing; what they get is in the settings."""

    settings: Settings
    database: Database
    passwords: Passwords
    guesses: Guesses

    async def register(self, request: Request) -> Response:
        """Add a user."""
        body = await read_json(request)
        username, password, email = body.get("username"), body.get("password"), body.get("email")
        if username is None or password is None:
            raise Problem("the members username and password are both needed", status=400)
        try:
            self.passwords.check_new(password)
        except WeakPassword as error:
            raise Problem(str(error), status=400) from None
        self.passwords.require_room()
        address = caller_address(request)
        async with self.guesses.registration(address) as guess:
            async with self.database.connect() as db:
                refused = await check_sign_up(db, username, email)
            joined = refused or await self._add(username, email, await self.passwords.hash(password), address)
            # A name that is taken counts too: nobody asks for many to learn who is here.
            await guess.failed()
        if isinstance(joined, Refused):
            raise Problem(joined.words, status=409 if joined.why == "taken" else 400)
        member = {"username": normalised(username), "email": email and normalised(email)}
        return answer({"sub": str(joined), **member}, 201)

    async def _add(
        self, username: str, email: str | None, password_hash: str, address: str | None
    ) -> UUID | Refused:
        try:
            async with self.database.transaction() as db:
                return await sign_up(
                    db,
                    username=username,
                    email=email,
                    password_hash=password_hash,
                    roles=self.settings.registration_roles,
                    address=address,
                )
        except NotAllowed as error:
            # Not the caller's fault: a role of the settings that nobody has added yet.
            raise Unavailable("the registration", detail=f"registration_roles: {error}") from None
