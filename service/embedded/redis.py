"""Redis: configured by a pipe, started in its folder, stopped and killed on demand."""

import shutil
import signal
import socket
import time
from pathlib import Path

from service.embedded import ports
from service.embedded.binaries import redis_binary
from service.embedded.errors import EmbeddedError
from service.embedded.watching import Watcher

_NAME = "Redis"
_STARTING = 20.0


class RedisServer:
    """One Redis on a loopback port that stays the same for as long as this object lives."""

    def __init__(
        self, directory: Path, watcher: Watcher, password: str, port: int | None, *, fsync: bool
    ) -> None:
        self._data = directory / "redis"
        self._log = directory / "redis.log"
        self._watcher = watcher
        self._password = password
        self._wanted = port
        self._fsync = fsync
        self._program = redis_binary()
        self._port: int | None = None
        self._pid: int | None = None

    @property
    def url(self) -> str:
        """Where to connect, with the password."""
        return f"redis://:{self._password}@{ports.LOOPBACK}:{self.port}/0"

    @property
    def port(self) -> int:
        """The port; known from the first start on."""
        assert self._port is not None, "not started yet"
        return self._port

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._pid is not None, "not started yet"
        return self._pid

    def start(self) -> None:
        """Start and wait until it answers; on the same port as before.

        Raises:
            EmbeddedError: it does not come up; the text has its last words.
        """
        deadline = time.monotonic() + _STARTING
        self._data.mkdir(mode=0o700, exist_ok=True)
        self._log.touch(mode=0o600)
        may_begin_anew = True
        while True:
            port = self._port or ports.choose(self._wanted)
            said = self._log.stat().st_size
            if self._comes_up(port, deadline):
                self._port = port
                return
            last_words = self._log.read_bytes()[said:].decode(errors="replace")
            if "already in use" not in last_words:
                if not may_begin_anew:
                    raise EmbeddedError(f"{_NAME} did not start ({self._log}):\n{last_words.strip()[-2000:]}")
                may_begin_anew = False
                self._set_data_aside()
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{_NAME} found no port of {ports.LOOPBACK} ({self._log})")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop in order, with the data written."""
        self._watcher.end(_NAME)

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        self._watcher.kill(_NAME)

    def _set_data_aside(self) -> None:
        """Begin empty where a newer Redis wrote the data, say: nothing in it is the only copy."""
        aside = self._data.with_name("redis.unreadable")
        shutil.rmtree(aside, ignore_errors=True)
        self._data.rename(aside)
        self._data.mkdir(mode=0o700)

    def _comes_up(self, port: int, deadline: float) -> bool:
        # On stdin, so that the password is in no argument and in no file; paths are relative to the folder.
        config = (
            f"bind {ports.LOOPBACK}\n"
            f"port {port}\n"
            f"requirepass {self._password}\n"
            "pidfile redis.pid\n"
            "maxmemory-policy noeviction\n"
            'save ""\n'
            "appendonly yes\n"
            f"appendfsync {'everysec' if self._fsync else 'no'}\n"
        )
        self._pid = self._watcher.run(
            _NAME,
            [str(self._program), "-"],
            directory=self._data,
            log=self._log,
            polite=signal.SIGTERM,
            stdin=config,
        )
        while not self._answers(port):
            if self._watcher.exit_code(_NAME) is not None:
                return False
            if time.monotonic() > deadline:
                self._watcher.kill(_NAME)
                return False
            time.sleep(0.01)
        return True

    def _answers(self, port: int) -> bool:
        """Whether this very server is there and has its data: nobody else knows the password."""
        try:
            with socket.create_connection((ports.LOOPBACK, port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answers = b""
                while answers.count(b"\r\n") < 2:
                    read = connection.recv(1024)
                    if not read:
                        return False
                    answers += read
        except OSError:
            return False
        return answers == b"+OK\r\n+PONG\r\n"
