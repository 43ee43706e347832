"""PostgreSQL: made once, started in its folder, stopped and killed on demand."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from service.embedded import ports
from service.embedded.binaries import CLEAN_ENVIRONMENT, account_for, postgres_for
from service.embedded.errors import EmbeddedError
from service.embedded.home import owned_pid
from service.embedded.watching import Watcher

_NAME = "PostgreSQL"
_USER = "sealwright"
_STARTING = 60.0
"""Seconds: a crash of the machine may have left a lot to recover."""

_HERE = "/proc/self/cwd"
"""The working directory without the way to it: another user can open it although root's folders above
are closed to that user."""


class PostgresServer:
    """One PostgreSQL on a loopback port that stays the same for as long as this object lives."""

    def __init__(
        self, directory: Path, watcher: Watcher, password: str, port: int | None, *, fsync: bool
    ) -> None:
        self._data = directory / "postgres"
        self._log = directory / "postgres.log"
        self._watcher = watcher
        self._password = password
        self._wanted = port
        self._fsync = fsync
        self._account = account_for(self._data)
        self._programs = postgres_for(self._account)
        self._port: int | None = None
        self._pid: int | None = None

    @property
    def url(self) -> str:
        """Where to connect, with the password."""
        return f"postgresql://{_USER}:{self._password}@{ports.LOOPBACK}:{self.port}/{_USER}"

    @property
    def port(self) -> int:
        """The port; known from the first start on."""
        assert self._port is not None, "not started yet"
        return self._port

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._pid is not None, "not started yet"
        return self._pid

    def prepare(self, *, reset_password: bool) -> None:
        """Make the database cluster if there is none; give it the password if that was lost."""
        if not (self._data / "PG_VERSION").exists():
            self._make()
        elif reset_password:
            self._forget_stale_pid()
            self._single_user(self._data, self._set_password)

    def start(self) -> None:
        """Start and wait until it accepts connections; on the same port as before.

        Raises:
            EmbeddedError: it does not come up; the text has its last words.
        """
        deadline = time.monotonic() + _STARTING
        self._log.touch(mode=0o600)
        while True:
            port = self._port or ports.choose(self._wanted)
            said = self._log.stat().st_size
            if self._comes_up(port, deadline):
                self._port = port
                return
            last_words = self._log.read_bytes()[said:].decode(errors="replace")
            # A port that was taken this very moment, or the last one's processes still on their way out.
            passing = (
                "could not bind",
                "could not create any TCP/IP sockets",
                "pre-existing shared memory block",
            )
            if time.monotonic() > deadline or not any(cause in last_words for cause in passing):
                raise EmbeddedError(f"{_NAME} did not start ({self._log}):\n{last_words.strip()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop in order; connections are closed by the server."""
        self._watcher.end(_NAME)

    def kill(self) -> None:
        """Kill the postmaster, as a crash would."""
        self._watcher.kill(_NAME)

    def _comes_up(self, port: int, deadline: float) -> bool:
        self._forget_stale_pid()
        options = {
            "listen_addresses": ports.LOOPBACK,
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "fsync": "on" if self._fsync else "off",
            "cluster_name": _USER,
            "log_line_prefix": "%m [%p] ",
        }
        self._pid = self._watcher.run(
            _NAME,
            [
                *self._postgres(self._data),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            directory=self._data,
            log=self._log,
            polite=signal.SIGINT,  # its fast shutdown
            account=self._account,
        )
        while not self._is_ready():
            if self._watcher.exit_code(_NAME) is not None:
                return False
            if time.monotonic() > deadline:
                self._watcher.kill(_NAME)
                return False
            time.sleep(0.01)
        return True

    def _is_ready(self) -> bool:
        """Whether the postmaster says so in its pid file, as pg_ctl reads it."""
        try:
            lines = (self._data / "postmaster.pid").read_text().split("\n")
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(self._pid) and lines[7].strip() == "ready"

    def _forget_stale_pid(self) -> None:
        """Remove a dead server's pid file: PostgreSQL would take whoever has its pid now for a postmaster.

        Only where nobody works in the folder: the lock says so, and so does /proc.
        """
        pidfile = self._data / "postmaster.pid"
        if Path("/proc/self/cwd").exists() and owned_pid(pidfile) is None:
            pidfile.unlink(missing_ok=True)

    def _make(self) -> None:
        if self._data.exists() and any(self._data.iterdir()):
            raise EmbeddedError(f"{self._data} holds something that is no database: remove it")
        draft = self._data.with_name("postgres.new")
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(draft, self._account.user, self._account.group)
        # The built-in C.UTF-8 is the same on every operating system.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        sync = [] if self._fsync else ["--no-sync"]
        initdb = [str(self._programs / "initdb"), "-D", self._where(draft), "-U", _USER, "-A", "trust"]
        self._run([*initdb, *locale, *sync], draft)
        (draft / "pg_hba.conf").write_text(f"host all all {ports.LOOPBACK}/32 scram-sha-256\n")
        self._single_user(draft, f"{self._set_password}CREATE DATABASE {_USER};\n")
        if self._data.exists():
            self._data.rmdir()
        draft.rename(self._data)

    @property
    def _set_password(self) -> str:
        return f"ALTER ROLE {_USER} PASSWORD '{self._password}';\n"

    def _single_user(self, data: Path, sql: str) -> None:
        """Run SQL before anybody can connect; the password goes by a pipe."""
        said = self._run(
            [*self._postgres(data, "--single"), "-c", "log_min_error_statement=panic", "postgres"], data, sql
        )
        if "ERROR:" in said:
            raise EmbeddedError(f"{_NAME} could not be prepared:\n{said[-2000:]}")

    def _postgres(self, data: Path, *first: str) -> list[str]:
        return [str(self._programs / "postgres"), *first, "-D", self._where(data)]

    def _where(self, data: Path) -> str:
        return str(data) if self._account is None else _HERE

    def _run(self, argv: list[str], data: Path, stdin: str = "") -> str:
        account = self._account
        done = subprocess.run(  # noqa: S603  # the wheel's own program
            argv,
            cwd=data,
            env=CLEAN_ENVIRONMENT,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            umask=0o077,
            start_new_session=True,
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"{Path(argv[0]).name} failed:\n{done.stdout.strip()[-2000:]}")
        return done.stdout
