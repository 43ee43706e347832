"""`sealwright users`: who can sign in, and as what."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer

from service.account import administration, registration
from service.cli import asking, given, importing, output
from service.cli.connect import run
from service.cli.revoking import run_revoking
from service.database import Database
from service.revocation import Revocations
from service.settings import Settings
from service.users import store
from service.users.passwords import Passwords
from service.users.store import User

app = typer.Typer(help="Add, change, disable, delete and list users.", no_args_is_help=True)
app.command("import")(importing.import_)

Name = Annotated[str, typer.Argument(help="The username or the email address.")]

_COLUMNS = ("username", "email", "roles", "disabled", "created_at")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The username: without @, in any case.")],
    *,
    email: Annotated[str | None, typer.Option(help="Signs in as well as the username does.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    password_stdin: asking.PasswordStdin = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Nobody can sign in by password as this user.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Add a user; the password is asked for, unseen."""
    if password_stdin and no_password:
        output.fail("Choose one of --password-stdin and --no-password.")
    roles = given.distinct(role)

    async def check(_: Settings, database: Database) -> None:
        async with database.connect() as db:
            await registration.check_user(db, name, email, roles)

    async def work(settings: Settings, database: Database) -> User | None:
        password_hash = None if password is None else await _hashed(settings, password)
        async with database.transaction() as db:
            user_id = await registration.add_user(
                db, username=name, email=email, password_hash=password_hash, roles=roles
            )
            return await store.by_id(db, user_id)

    run(check)
    password = None if no_password else asking.new_password(name, from_stdin=password_stdin)
    user = run(work)
    assert user is not None
    output.say(f"Added {user.username}, {_called(user.roles)}.")
    if as_json:
        output.document(_shown(user))


@app.command(name="list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 1000,
    as_json: output.Json = False,
) -> None:
    """Show users by name."""

    async def work(_: Settings, database: Database) -> list[User]:
        async with database.connect() as db:
            return await store.listed(db, limit=limit + 1)

    users = run(work)
    output.rows([_shown(user) for user in users[:limit]], _COLUMNS, as_json=as_json)
    if len(users) > limit:
        output.say(f"There are more than {limit}; for all of them give a higher --limit.")


@app.command()
def disable(name: Name) -> None:
    """Shut a user out: no sign-in, every session ended, every token dead."""
    username, done = _change(name, administration.disable_user)
    if done:
        output.say(f"Disabled {username}: every session is ended, every token refused.")
    else:
        output.say(f"{username} is disabled already.")


@app.command()
def enable(name: Name) -> None:
    """Let a user sign in again. What was made before stays dead."""
    username, done = _change(name, administration.enable_user)
    output.say(f"{username} may sign in again." if done else f"{username} is enabled already.")


@app.command()
def delete(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a user for good: every session ended, every token dead, everything stored of the user gone.

    Audit events stay until they are too old; they have the id, and no name or email address.
    """

    async def look(_: Settings, database: Database) -> User:
        return await given.user(database, name)

    async def work(settings: Settings, _: Database, revocations: Revocations) -> bool:
        return await administration.delete_user(revocations, user.id, settings.revocation_lifetime)

    user = run(look)
    if not yes:
        asking.consent(f"Delete {user.username} for good?", option="--yes")
    if not run_revoking(work):
        output.fail(f"{user.username} is gone already.")
    output.say(f"Deleted {user.username} ({user.id}): every session is ended, every token refused.")


@app.command(name="password")
def set_password(name: Name, *, password_stdin: asking.PasswordStdin = False) -> None:
    """Set a user's password, asked for unseen, and end every session of the user."""

    async def look(_: Settings, database: Database) -> User:
        return await given.user(database, name)

    async def work(settings: Settings, _: Database, revocations: Revocations) -> bool:
        password_hash = await _hashed(settings, password)
        lifetime = settings.revocation_lifetime
        return await administration.reset_password(revocations, user.id, password_hash, lifetime)

    user = run(look)
    password = asking.new_password(user.username, from_stdin=password_stdin)
    if not run_revoking(work):
        output.fail(f"{user.username} is gone.")
    output.say(f"{user.username} has a new password: every session is ended, every token refused.")


@app.command(name="roles")
def set_roles(
    name: Name,
    role: Annotated[list[str] | None, typer.Argument(help="All the roles that the user is to have.")] = None,
    *,
    none: Annotated[bool, typer.Option("--none", help="Take all roles away.")] = False,
) -> None:
    """Give a user exactly these roles. Sessions go on, with the new roles after their next refresh."""
    wanted = given.distinct(role)

    async def work(settings: Settings, database: Database, revocations: Revocations) -> tuple[User, bool]:
        user = await given.user(database, name)
        if bool(wanted) == none:
            output.fail(
                f"{user.username} is {_called(user.roles)}. Name all the roles to have, or give --none."
            )
        async with database.connect() as db:
            await registration.check_roles(db, wanted)
        if set(wanted) == set(user.roles):
            return user, False
        lifetime = settings.revocation_lifetime
        return user, await administration.set_roles(revocations, user.id, wanted, lifetime)

    user, done = run_revoking(work)
    if done:
        output.say(f"{user.username} was {_called(user.roles)}, is {_called(wanted)} now.")
    else:
        output.say(f"{user.username} is {_called(user.roles)} already.")


def _change(name: str, change: Callable[[Revocations, UUID, timedelta], Awaitable[bool]]) -> tuple[str, bool]:
    """Make a change of a user; return the username, and False if there was nothing to change."""

    async def work(settings: Settings, database: Database, revocations: Revocations) -> tuple[str, bool]:
        user = await given.user(database, name)
        return user.username, await change(revocations, user.id, settings.revocation_lifetime)

    return run_revoking(work)


async def _hashed(settings: Settings, password: str) -> str:
    passwords = Passwords(settings)
    try:
        passwords.check_new(password)
        return await passwords.hash(password)
    finally:
        passwords.close()


def _shown(user: User) -> dict[str, object]:
    return {
        "id": str(user.id),
        "username": user.username,
        "email": user.email,
        "roles": list(user.roles),
        "has_password": user.password_hash is not None,
        "disabled": user.disabled,
        "created_at": user.created_at,
    }


def _called(roles: Sequence[str]) -> str:
    return " and ".join(roles) if roles else "without a role"
