"""Settings: each variable is named when it is missing or wrong, and no secret is ever shown."""

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from service.settings import PREFIX, Settings, SettingsError, load
from tests.support.deployment import Deployment

RIGHT = {
    "issuer": "https://auth.example.com",
    "database_url": "postgresql://user:hush@db.example:5432/name",
    "redis_url": "redis://:hush@cache.example:6379/0",
}
REQUIRED = tuple(name for name, field in Settings.model_fields.items() if field.is_required())
DURATIONS = tuple(
    name for name, field in Settings.model_fields.items() if isinstance(field.default, timedelta)
)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variable and no .env of whoever runs the tests."""
    from os import environ  # noqa: TID251  # to clear it

    for name in list(environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(**overrides: object) -> str:
    with pytest.raises(SettingsError) as refused:
        load(**{**RIGHT, **overrides})
    assert refused.value.__cause__ is None
    return str(refused.value)


def test_three_settings_are_enough() -> None:
    assert not load(**RIGHT).development
    assert set(REQUIRED) == set(RIGHT)


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_missing_variable_is_named_with_what_it_is_for(missing: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(**{name: value for name, value in RIGHT.items() if name != missing})

    assert str(refused.value) == (
        f"{PREFIX}{missing.upper()} is not set. {Settings.model_fields[missing].description}"
    )


def test_all_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        load()

    assert [line.split(" ")[0] for line in str(refused.value).splitlines()] == [
        PREFIX + name.upper() for name in REQUIRED
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "0"),
        ("port", "http"),
        ("workers", "none"),
        ("environment", "staging"),
        ("signing_algorithm", "HS256"),
        ("redis_namespace", "a b"),
        ("redis_namespace", ""),
        ("password_memory_kib", "1"),
        ("access_token_lifetime", "soon"),
        ("issuer", "auth.example.com"),
        ("issuer", "https://auth.example.com/"),
        ("issuer", "https://auth.example.com/tenant"),
        ("issuer", "https://auth.example.com?a=b"),
        ("issuer", "https://auth.example.com#a"),
        ("issuer", "ftp://auth.example.com"),
        ("issuer", "https://"),
        ("issuer", "https://["),
        ("issuer", "https://user:hush@auth.example.com"),
        ("issuer", "http://auth.example.com"),
        ("issuer", "https://" + "a" * 248),
        ("issuer", "https://" + "ö" * 124),
        ("max_access_token_lifetime", "60"),
        ("refresh_grace", "PT336H"),
        ("catalog_max_age", "300"),
    ],
)
def test_a_wrong_value_is_told_by_its_variable(name: str, value: str) -> None:
    said = refusal(**{name: value})

    assert PREFIX + name.upper() in said
    assert "hush" not in said


def test_an_issuer_may_be_so_long_and_no_longer() -> None:
    longest = "https://" + "a" * 247
    assert load(**{**RIGHT, "issuer": longest}).issuer == longest
    said = refusal(issuer=longest + "a")

    assert "at most 255 characters: it is in tokens, which must stay below 8,192" in said


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", ["-PT5S", "-5", "PT", "5 minutes", "1e3", "9" * 30, "P200Y", "nan"])
def test_a_duration_that_cannot_be_meant_is_told_by_its_variable(name: str, value: str) -> None:
    assert PREFIX + name.upper() in refusal(**{name: value})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("45", timedelta(seconds=45)),
        ("0.5", timedelta(milliseconds=500)),
        ("PT45S", timedelta(seconds=45)),
        ("PT20S", timedelta(seconds=20)),
        ("0", timedelta(0)),
    ],
)
def test_a_duration_is_read_in_seconds_and_in_iso_8601(written: str, read: timedelta) -> None:
    assert load(**RIGHT, leeway=written).leeway == read


@pytest.mark.parametrize(
    "name",
    ["access_token_lifetime", "refresh_token_idle", "session_lifetime", "redis_timeout", "janitor_interval"],
)
def test_what_may_not_be_zero_is_told(name: str) -> None:
    assert PREFIX + name.upper() in refusal(**{name: "0"})


@pytest.mark.parametrize("name", ["database_url", "redis_url"])
@pytest.mark.parametrize(
    "rest",
    [
        "user:hush/hush@host/0",
        "user:hush#hush@host/0",
        "user:hush?hush@host/0",
        "user:hush[hush@host/0",
        "user:123/hush@host/0",
        "user:hush@host:hush/0",
        "user:hush@ho:st:1/0",
    ],
)
def test_a_url_that_a_driver_would_misread_is_refused_without_a_word_of_it(name: str, rest: str) -> None:
    said = refusal(**{name: RIGHT[name].partition("//")[0] + "//" + rest})

    assert said.startswith(f"{PREFIX}{name.upper()}: it has the form ")
    assert "percent-encode" in said
    assert "hush" not in said


@pytest.mark.parametrize("name", ["database_url", "redis_url"])
@pytest.mark.parametrize("url", ["mysql://user:hush@host/name", "hush", "", "//hush@host"])
def test_a_url_of_something_else_is_refused(name: str, url: str) -> None:
    said = refusal(**{name: url})

    assert said.startswith(PREFIX + name.upper())
    assert "hush" not in said


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("database_url", "postgres://user@host/name"),
        ("database_url", "postgresql://user:a%2Fb%40c@[::1]:5432/name?sslmode=require"),
        ("database_url", "postgresql://user@one:5432,two:5433/name?target_session_attrs=primary"),
        ("database_url", "postgresql:///name?host=/var/run/postgresql"),
        ("redis_url", "rediss://user:a%23b@host:6380/1?ssl_cert_reqs=none"),
        ("redis_url", "redis://localhost"),
        ("redis_url", "unix:///run/redis.sock?db=1"),
    ],
)
def test_every_usual_url_is_taken(name: str, url: str) -> None:
    settings = load(**{**RIGHT, name: url})

    assert getattr(settings, name).get_secret_value() == url


def test_http_is_for_development_alone() -> None:
    assert "must be https in production" in refusal(issuer="http://localhost:8000")
    assert load(**{**RIGHT, "issuer": "http://localhost:8000"}, environment="development").development


def test_audit_events_are_kept_for_as_long_as_the_database_keeps_them_at_least() -> None:
    assert refusal(audit_retention="86399").startswith(f"{PREFIX}AUDIT_RETENTION")
    assert load(**RIGHT, audit_retention="86400").audit_retention == timedelta(days=1)


def test_no_secret_is_in_a_repr() -> None:
    settings = load(**RIGHT)

    assert "hush" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_env_file_is_read_and_a_variable_comes_first(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{PREFIX}{name.upper()}={value}" for name, value in RIGHT.items()]
    (alone / ".env").write_text("\n".join([*lines, f"{PREFIX}PORT=8123", f"{PREFIX}LEEWAY=PT7S", "OTHER=1"]))

    assert (load().port, load().leeway) == (8123, timedelta(seconds=7))
    monkeypatch.setenv(f"{PREFIX}PORT", "8124")
    assert load().port == 8124


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_lists_every_setting_and_no_value(deployment: Deployment) -> None:
    shown = deployment.having(redis_url="redis://:hush@host/0").cli("settings").stdout

    for name, field in Settings.model_fields.items():
        assert PREFIX + name.upper() in shown
        assert field.description
    assert "hush" not in shown
    assert deployment.database_url not in shown


@pytest.mark.parametrize(
    ("wrong", "variable"),
    [
        ({"redis_url": "redis://:hush/hush@host/0"}, "REDIS_URL"),
        ({"redis_url": "mysql://:hush@host/0"}, "REDIS_URL"),
        ({"database_url": "postgresql://u:hush/hush@host/0"}, "DATABASE_URL"),
        ({"janitor_interval": "-PT5S"}, "JANITOR_INTERVAL"),
        ({"environment": "production"}, "ISSUER"),
    ],
)
def test_serve_ends_with_one_line_that_names_the_variable(
    deployment: Deployment, wrong: dict[str, str], variable: str
) -> None:
    assert_one_line(deployment.having(**wrong).cli("serve", "--port", "1", check=False), variable)


def test_a_database_that_is_not_there_is_one_line(deployment: Deployment) -> None:
    url = deployment.database_url.rpartition("/")[0] + "/nowhere"

    assert_one_line(deployment.having(database_url=url).cli("serve", check=False), "DATABASE_URL")


def assert_one_line(done: "subprocess.CompletedProcess[str]", variable: str) -> None:
    assert done.returncode == 1
    assert not done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert PREFIX + variable in done.stderr
    assert "hush" not in done.stderr
