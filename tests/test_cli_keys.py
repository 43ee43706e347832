"""`sealwright keys`, as an operator types it."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.signing import files


@pytest.fixture
def keys_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the commands find in their environment; nothing else is set, and no .env is near."""
    monkeypatch.chdir(tmp_path)
    for name in ("ISSUER", "DATABASE_URL", "REDIS_URL", "LEEWAY"):
        monkeypatch.delenv(f"SEALWRIGHT_{name}", raising=False)
    monkeypatch.setenv("SEALWRIGHT_KEYS_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("SEALWRIGHT_SIGNING_ALGORITHM", "ES256")
    monkeypatch.setenv("SEALWRIGHT_JWKS_MAX_AGE", "PT5M")
    return tmp_path / "keys"


def keys(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["keys", *arguments])
    assert result.exit_code == code, result.output
    return result


def listed() -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(keys("list", "--json").stdout)
    return items


def test_the_first_key_signs_at_once_and_the_next_one_waits(keys_dir: Path) -> None:
    assert "signs from now on" in keys("generate").stderr
    assert "keys rotate" in keys("generate").stderr

    first, second = listed()
    assert (first["state"], second["state"]) == ("active", "next")
    assert first["signs_from"] == first["created"]
    assert second["signs_from"] is None
    assert first["alg"] == second["alg"] == "ES256"
    assert {path.stem for path in keys_dir.glob("*.pem")} == {first["kid"], second["kid"]}


def test_generate_if_none_makes_one_key_only(keys_dir: Path) -> None:
    keys("generate", "--if-none")
    assert "a key already" in keys("generate", "--if-none").stderr

    assert len(list(keys_dir.glob("*.pem"))) == 1


def test_a_second_next_key_is_refused(keys_dir: Path) -> None:
    keys("generate")
    keys("generate")

    assert "is the next key already" in keys("generate", code=1).stderr
    assert len(list(keys_dir.glob("*.pem"))) == 2


def test_rotate_makes_a_key_if_there_is_none_and_says_when_it_signs(keys_dir: Path) -> None:
    keys("generate")
    said = keys("rotate").stderr

    old, new = listed()
    assert said.startswith(f"{new['kid']} signs from ")
    assert said.rstrip().endswith("in 3610 s.") or said.rstrip().endswith("in 3609 s.")
    assert old["stops"] == new["signs_from"]
    assert old["in_jwks_until"] > old["stops"]
    assert keys("rotate").stderr.split(",")[0] == said.split(",")[0]
    assert len(files.read_entries(keys_dir)) == 2


@pytest.mark.usefixtures("keys_dir")
def test_retire_takes_each_key_out_in_its_way() -> None:
    keys("generate")
    [active] = listed()
    assert f"Then {active['kid']} retires" in keys("retire", active["kid"][:8]).stderr
    [_, upcoming] = listed()
    assert "It never signed" in keys("retire", upcoming["kid"]).stderr
    assert [key["kid"] for key in listed()] == [active["kid"]]
    assert "sealwright keys list" in keys("retire", active["kid"][:7], code=1).stderr
    assert "sealwright keys list" in keys("retire", "unknown", code=1).stderr


def rewind(keys_dir: Path, by: timedelta) -> None:
    """Let the ring have been made so much earlier."""
    entries = files.read_entries(keys_dir)
    files.write_ring(
        keys_dir,
        [
            replace(e, created_at=e.created_at - by, signs_from=e.signs_from and e.signs_from - by)
            for e in entries
        ],
    )


@pytest.mark.parametrize(("hours", "said"), [(2, "stays in the JWKS until"), (3, "left the JWKS at")])
def test_retire_says_when_a_retired_key_leaves_the_jwks(keys_dir: Path, hours: int, said: str) -> None:
    keys("generate")
    keys("rotate")
    rewind(keys_dir, timedelta(hours=hours))
    old, new = listed()
    result = keys("retire", old["kid"])

    assert (old["state"], new["state"]) == ("retired", "active")
    assert "has retired" in result.stderr
    assert f"It {said} {old['in_jwks_until'][:10]} {old['in_jwks_until'][11:19]}Z" in result.stderr


def test_any_command_destroys_the_private_half_of_a_key_that_has_stopped(keys_dir: Path) -> None:
    keys("generate")
    keys("rotate")
    rewind(keys_dir, timedelta(hours=2))
    old, new = files.read_entries(keys_dir)
    keys("list")

    assert not files.has_private(keys_dir, old.kid)
    assert files.has_private(keys_dir, new.kid)


def test_a_folder_that_cannot_be_written_can_still_be_listed(keys_dir: Path) -> None:
    keys("generate")
    keys("rotate")
    rewind(keys_dir, timedelta(hours=2))
    (keys_dir / ".lock").unlink()
    (keys_dir / ".lock").mkdir()  # stops root too
    result = keys("list", "--json")

    assert len(json.loads(result.stdout)) == 2
    assert "could not be removed" in result.stderr


@pytest.mark.parametrize("command", [["list"], ["rotate"], ["retire", "kid"]])
@pytest.mark.usefixtures("keys_dir")
def test_without_keys_each_command_says_how_to_begin(command: list[str]) -> None:
    result = keys(*command, code=1)

    assert "Run: sealwright keys generate" in result.stderr
    assert result.stdout == ""


def test_a_wrong_setting_is_one_line_that_names_it(keys_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALWRIGHT_LEEWAY", "-PT1S")

    assert keys("generate", code=1).stderr == "SEALWRIGHT_LEEWAY must not be negative\n"
    assert not keys_dir.exists()


def test_list_shows_a_table_and_private_keys_that_nobody_knows(keys_dir: Path) -> None:
    keys("generate")
    (keys_dir / "stray.pem").touch()
    result = keys("list")

    assert "active" in result.stdout
    assert f"{keys_dir / 'stray.pem'} belongs to no key" in result.stderr.replace("\n", "")


def test_the_installed_command_needs_neither_postgres_nor_redis(keys_dir: Path) -> None:
    command = Path(sys.executable).with_name("sealwright")
    made = subprocess.run([command, "keys", "generate"], capture_output=True, text=True, check=True)
    shown = subprocess.run([command, "keys", "list", "--json"], capture_output=True, text=True, check=True)

    [entry] = files.read_entries(keys_dir)
    assert made.stderr == f"{entry.kid} signs from now on.\n"
    assert made.stdout == ""
    assert [key["kid"] for key in json.loads(shown.stdout)] == [entry.kid]
