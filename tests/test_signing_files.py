"""The folder of keys: what is refused, with which words, and what happens when several change it at once."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sealwright import Algorithm
from service.settings import KeySettings
from service.signing import Entry, KeyRingError, Policy, files, folder, rules, signer
from tests.support import ring

NOW = datetime(2026, 11, 22, 12, 0, 0, 999, tzinfo=UTC)
POLICY = Policy.of(KeySettings())
STRANGER = 65534


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """A ring with an active and a next key."""
    path = tmp_path / "keys"
    ring.generate(path, "ES256", NOW)
    ring.generate(path, "ES256", NOW)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(keys_dir: Path, *, mentions: Path, says: str) -> None:
    secrets = [
        line
        for pem in keys_dir.glob("*.pem")
        if pem.is_file() and os.access(pem, os.R_OK)
        for line in pem.read_bytes().split(b"\n")[1:-2]
    ]
    with pytest.raises(KeyRingError) as refused:
        ring.load(keys_dir, POLICY, NOW)

    text = str(refused.value)
    assert str(mentions) in text
    assert says in text
    assert refused.value.__cause__ is None
    assert not any(line and line in text.encode() for line in secrets)


def test_files_are_made_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        entry = ring.generate(tmp_path / "new", "ES256", NOW)
    finally:
        os.umask(before)

    assert mode(tmp_path / "new") == 0o700
    assert mode(files.private_path(tmp_path / "new", entry.kid)) == 0o600
    assert mode(files.ring_path(tmp_path / "new")) == 0o644
    assert [path.name for path in tmp_path.rglob("*.new")] == []


def test_new_keys_are_pkcs8_of_2048_bits(tmp_path: Path) -> None:
    entry = ring.generate(tmp_path, "RS256", NOW)
    pem = files.private_path(tmp_path, entry.kid).read_bytes()
    private = load_pem_private_key(pem, None)

    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 2048


def test_a_missing_folder_and_an_empty_one_say_how_to_begin(tmp_path: Path) -> None:
    refusal(tmp_path / "none", mentions=tmp_path / "none", says="Run: sealwright keys generate")
    refusal(tmp_path, mentions=tmp_path / "ring.json", says="Run: sealwright keys generate")


def test_a_ring_without_keys_says_how_to_begin(tmp_path: Path) -> None:
    files.write_ring(tmp_path, [])

    refusal(tmp_path, mentions=tmp_path / "ring.json", says="Run: sealwright keys generate")


def test_a_ring_whose_keys_never_sign_says_how_to_begin(tmp_path: Path) -> None:
    key, pem = signer.make("ES256")
    files.write_private(tmp_path, key.kid, pem)
    files.write_ring(tmp_path, [Entry(key, NOW)])

    refusal(tmp_path, mentions=tmp_path / "ring.json", says="Run: sealwright keys rotate")
    assert ring.rotate(tmp_path, "ES256", POLICY, NOW).signs_from == NOW.replace(microsecond=0)
    assert ring.load(tmp_path, POLICY, NOW).active_kid(NOW.timestamp()) == key.kid


def test_a_lost_ring_is_not_taken_for_an_empty_one(keys_dir: Path) -> None:
    files.ring_path(keys_dir).unlink()

    refusal(keys_dir, mentions=files.ring_path(keys_dir), says="restore it from your backup")


def test_garbage_in_the_ring_is_refused_and_never_overwritten(keys_dir: Path) -> None:
    path = files.ring_path(keys_dir)
    path.write_bytes(b"\x00{]")

    refusal(keys_dir, mentions=path, says="Restore it from your backup")
    attempts: list[Callable[[], object]] = [
        lambda: ring.generate(keys_dir, "ES256", NOW),
        lambda: ring.ensure(keys_dir, "ES256", NOW),
        lambda: ring.rotate(keys_dir, "ES256", POLICY, NOW),
        lambda: ring.retire(keys_dir, "kid", "ES256", POLICY, NOW),
        lambda: ring.tidy(keys_dir, POLICY, NOW),
    ]
    for change in attempts:
        with pytest.raises(KeyRingError, match=r"ring\.json is unusable"):
            change()
    assert path.read_bytes() == b"\x00{]"


def test_a_ring_that_others_can_write_is_refused(keys_dir: Path) -> None:
    path = files.ring_path(keys_dir)
    path.chmod(0o664)

    refusal(keys_dir, mentions=path, says=f"Run: chmod 644 {path}")


@pytest.mark.parametrize("open_mode", [0o777, 0o703])
def test_a_folder_that_everybody_can_write_is_refused(keys_dir: Path, open_mode: int) -> None:
    keys_dir.chmod(open_mode)

    refusal(keys_dir, mentions=keys_dir, says=f"Run: chmod o-w {keys_dir}")


@pytest.mark.parametrize("open_mode", [0o770, 0o1777], ids=["Kubernetes' fsGroup", "Kubernetes' Secret"])
def test_a_folder_where_strangers_cannot_replace_files_is_fine(keys_dir: Path, open_mode: int) -> None:
    keys_dir.chmod(open_mode)

    assert ring.load(keys_dir, POLICY, NOW).published


def test_no_key_is_made_in_a_folder_that_everybody_can_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(KeyRingError, match=f"chmod o-w {tmp_path}"):
        ring.generate(tmp_path, "ES256", NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_ring_of_another_user_is_refused(keys_dir: Path) -> None:
    path = files.ring_path(keys_dir)
    os.chown(path, STRANGER, STRANGER)

    refusal(keys_dir, mentions=path, says=f"belongs to user {STRANGER}")
    refusal(keys_dir, mentions=path, says=f"chown 0 {path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_the_folders_owner_and_of_root_are_fine(keys_dir: Path) -> None:
    os.chown(keys_dir, STRANGER, STRANGER)
    os.chown(files.ring_path(keys_dir), STRANGER, STRANGER)  # the private keys stay root's

    assert ring.load(keys_dir, POLICY, NOW).published


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_the_user_that_this_runs_as_are_fine(
    keys_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in keys_dir.iterdir():
        os.chown(path, STRANGER, STRANGER)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)

    assert ring.load(keys_dir, POLICY, NOW).published


def test_a_strangers_file_is_refused_by_every_user(keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstat  # what only root can bring about on disk

    def given_away(fd: int) -> os.stat_result:
        fields = list(real(fd))
        fields[stat.ST_UID] = STRANGER
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", given_away)

    refusal(keys_dir, mentions=files.ring_path(keys_dir), says=f"belongs to user {STRANGER}")


@pytest.mark.parametrize("state", ["active", "next"])
class TestAPrivateKey:
    @pytest.fixture
    def path(self, keys_dir: Path, state: str) -> Path:
        entries = files.read_entries(keys_dir)
        [entry] = [entry for entry in entries if rules.state(entries, entry, NOW) == state]
        return files.private_path(keys_dir, entry.kid)

    @pytest.fixture
    def remedy(self, path: Path, state: str) -> str:
        return "keys rotate" if state == "active" else f"keys retire {path.stem}"

    def test_that_is_missing_is_named_with_what_to_do(self, keys_dir: Path, path: Path, remedy: str) -> None:
        path.unlink()

        refusal(keys_dir, mentions=path, says="does not exist")
        refusal(keys_dir, mentions=path, says=remedy)

    @pytest.mark.parametrize("open_mode", [0o640, 0o604, 0o620, 0o601, 0o644])
    def test_that_is_open_to_others_is_refused(self, keys_dir: Path, path: Path, open_mode: int) -> None:
        path.chmod(open_mode)

        refusal(keys_dir, mentions=path, says=f"Run: chmod 600 {path}")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_that_belongs_to_another_user_is_refused(self, keys_dir: Path, path: Path) -> None:
        os.chown(path, STRANGER, STRANGER)

        refusal(keys_dir, mentions=path, says=f"belongs to user {STRANGER}")
        refusal(keys_dir, mentions=path, says=f"chown 0 {path}")

    def test_that_the_owner_may_only_read_is_fine(self, keys_dir: Path, path: Path) -> None:
        path.chmod(0o400)

        assert ring.load(keys_dir, POLICY, NOW).active_kid(0)

    @pytest.mark.parametrize(
        "in_its_place",
        [
            lambda path: path.mkdir(),
            lambda path: os.mkfifo(path, 0o600),
            lambda path: path.symlink_to(path),
        ],
        ids=["a folder", "a pipe", "a loop"],
    )
    def test_that_cannot_be_read_is_refused(
        self, keys_dir: Path, path: Path, in_its_place: Callable[[Path], None]
    ) -> None:
        path.unlink()
        in_its_place(path)

        with pytest.raises(KeyRingError, match=r"is not a file|cannot be read") as refused:
            ring.load(keys_dir, POLICY, NOW)
        assert str(path) in str(refused.value)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_that_is_not_ours_to_read_is_refused(self, keys_dir: Path, path: Path) -> None:
        path.chmod(0)

        refusal(keys_dir, mentions=path, says="cannot be read")

    @pytest.mark.parametrize("garbage", [b"", b"\x00\xff", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
    def test_that_is_garbage_is_refused(
        self, keys_dir: Path, path: Path, garbage: bytes, remedy: str
    ) -> None:
        path.write_bytes(garbage)

        refusal(keys_dir, mentions=path, says="is not an unencrypted PEM private key")
        refusal(keys_dir, mentions=path, says=remedy)

    def test_that_is_encrypted_is_refused(self, keys_dir: Path, path: Path) -> None:
        private = load_pem_private_key(path.read_bytes(), None)
        path.write_bytes(
            private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        )

        refusal(keys_dir, mentions=path, says="is not an unencrypted PEM private key")

    def test_that_is_too_small_is_refused(self, keys_dir: Path, path: Path) -> None:
        small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        path.write_bytes(small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

        refusal(keys_dir, mentions=path, says="at least 2048 bits")

    @pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
    def test_that_is_another_key_is_refused(self, keys_dir: Path, path: Path, algorithm: Algorithm) -> None:
        path.write_bytes(signer.make(algorithm)[1])

        refusal(keys_dir, mentions=path, says="holds another key")


def test_a_second_next_key_is_refused_with_what_to_do(keys_dir: Path) -> None:
    waiting = rules.upcoming(files.read_entries(keys_dir), NOW)
    assert waiting is not None

    with pytest.raises(KeyRingError, match=f"keys retire {waiting.kid}"):
        ring.generate(keys_dir, "ES256", NOW)


def test_rotating_twice_rotates_once(keys_dir: Path) -> None:
    once = ring.rotate(keys_dir, "ES256", POLICY, NOW)
    twice = ring.rotate(keys_dir, "ES256", POLICY, NOW + timedelta(minutes=1))

    assert once == twice
    assert len(files.read_entries(keys_dir)) == 2


def test_retiring_a_next_key_leaves_nothing_of_it(keys_dir: Path) -> None:
    scheduled = ring.rotate(keys_dir, "ES256", POLICY, NOW)

    assert ring.retire(keys_dir, scheduled.kid, "ES256", POLICY, NOW) is None
    assert not files.has_private(keys_dir, scheduled.kid)
    assert set(ring.load(keys_dir, POLICY, NOW).known).isdisjoint({scheduled.kid})


def test_a_key_about_to_sign_is_not_taken_from_under_the_replicas(keys_dir: Path) -> None:
    scheduled = ring.rotate(keys_dir, "ES256", POLICY, NOW)
    assert scheduled.signs_from is not None

    with pytest.raises(KeyRingError, match="Try again after that"):
        ring.retire(keys_dir, scheduled.kid, "ES256", POLICY, scheduled.signs_from - POLICY.pickup)
    assert files.has_private(keys_dir, scheduled.kid)


def test_retiring_an_unknown_key_is_an_error(keys_dir: Path) -> None:
    with pytest.raises(KeyRingError, match="sealwright keys list"):
        ring.retire(keys_dir, "../../etc/passwd", "ES256", POLICY, NOW)


def test_the_private_half_goes_when_it_has_stopped_and_the_public_one_when_it_is_over(keys_dir: Path) -> None:
    [old, _] = files.read_entries(keys_dir)
    stop = ring.rotate(keys_dir, "ES256", POLICY, NOW).signs_from
    assert stop is not None

    ring.tidy(keys_dir, POLICY, stop + POLICY.pickup - timedelta(seconds=1))
    assert files.has_private(keys_dir, old.kid)
    ring.tidy(keys_dir, POLICY, stop + POLICY.pickup)
    assert not files.has_private(keys_dir, old.kid)
    ring.tidy(keys_dir, POLICY, stop + POLICY.known_for - timedelta(seconds=1))
    assert old in files.read_entries(keys_dir)
    ring.tidy(keys_dir, POLICY, stop + POLICY.known_for)
    assert old not in files.read_entries(keys_dir)


def test_a_folder_that_cannot_be_written_says_who_should(keys_dir: Path) -> None:
    (keys_dir / ".lock").unlink()
    (keys_dir / ".lock").mkdir()  # stops root too

    with pytest.raises(KeyRingError, match="Run this as the owner"):
        ring.rotate(keys_dir, "ES256", POLICY, NOW)
    ring.tidy(keys_dir, POLICY, NOW)  # nothing to do, so nothing to complain of


def test_waiting_for_another_command_has_an_end(keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_LOCK_WAIT", 0.05)

    with (
        folder.locked(keys_dir),
        pytest.raises(KeyRingError, match="another command is changing the keys"),
    ):
        ring.rotate(keys_dir, "ES256", POLICY, NOW)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 4321, 4322)
    ring.generate(tmp_path, "ES256", NOW)

    written = [path.stat() for path in tmp_path.iterdir()]
    assert [(status.st_uid, status.st_gid) for status in written] == [(4321, 4322)] * 3


def test_private_keys_that_nobody_listed_are_found(keys_dir: Path) -> None:
    stray, half = files.private_path(keys_dir, "stray"), keys_dir / "half.pem.new"
    stray.touch()
    half.touch()

    assert files.strays(keys_dir, files.read_entries(keys_dir)) == [half, stray]


ROTATE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from service.settings import load_for_keys
from tests.support.ring import ensure, rotate
from service.signing import Policy
from tests.support import ring
print("ready", flush=True)
sys.stdin.readline()
keys_dir, policy = Path(sys.argv[1]), Policy.of(load_for_keys())
entry = {command}
print(entry and entry.kid)
"""


def race(keys_dir: Path, command: str, parties: int) -> list[str]:
    """Run `command` in processes that are all under way before any of them can do anything."""
    script = ROTATE.format(command=command)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(keys_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(parties)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        with folder.locked(keys_dir):
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            # All have begun, and none gets past the lock until we let go of it.
            with pytest.raises(subprocess.TimeoutExpired):
                processes[0].wait(0.3)
            assert all(process.poll() is None for process in processes)
        results = [process.communicate(timeout=30)[0].strip() for process in processes]
        assert [process.returncode for process in processes] == [0] * parties
        return results
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_rotations_at_the_same_moment_are_one_rotation(tmp_path: Path) -> None:
    ring.generate(tmp_path, "ES256", datetime.now(UTC))

    kids = race(tmp_path, 'rotate(keys_dir, "ES256", policy, datetime.now(UTC))', 4)

    entries = files.read_entries(tmp_path)
    assert len(set(kids)) == 1
    assert len(entries) == 2
    assert entries[1].kid == kids[0]
    assert len(list(tmp_path.glob("*.pem"))) == 2


def test_replicas_that_start_together_make_one_first_key(tmp_path: Path) -> None:
    kids = race(tmp_path, 'ensure(keys_dir, "ES256", datetime.now(UTC))', 4)

    [entry] = files.read_entries(tmp_path)
    assert sorted(kids) == sorted([entry.kid, "None", "None", "None"])
    assert len(list(tmp_path.glob("*.pem"))) == 1
