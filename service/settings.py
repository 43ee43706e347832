"""Every knob, documented with its default: the only reader of the environment.

Values come from `SEALWRIGHT_…` variables and from `.env`, the variables first.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sealwright import Algorithm

PREFIX = "SEALWRIGHT_"

_AnySettings = TypeVar("_AnySettings", bound=BaseSettings)

STALENESS = timedelta(minutes=1)
"""How late a token may still be made from what was read before a revocation: an answer in flight
(at most `request_deadline`) or a copy of the clients that has not seen the change
(at most `catalog_max_age`). Revocations are kept this much longer."""


def _seconds(value: object) -> object:
    # Variables are text, and pydantic reads no number in text as a duration.
    return float(value) if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else value


MAX_ARGON2_MEMORY = 512 * 1024
"""KiB that one password hash may take, whoever made it."""

MAX_ARGON2_WORK = 4 * 1024 * 1024
"""KiB times iterations: a few seconds of a core."""


Duration = Annotated[timedelta, BeforeValidator(_seconds)]


ProxyHeader = Literal["X-Forwarded-For", "Forwarded"]


def _listed(value: object) -> object:
    # Variables are text, and pydantic would have them be JSON.
    return tuple(filter(None, re.split(r"[,\s]+", value))) if isinstance(value, str) else value


def _networks(value: object) -> object:
    listed = _listed(value)
    if not isinstance(listed, tuple):
        return listed
    try:
        return tuple(ip_network(each) for each in listed)
    except ValueError as error:
        raise ValueError(f"{error}; write networks like 10.0.0.0/8,fd00::/8") from None


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


_MAX_ISSUER = 255  # see service.clients.rules: tokens have to stay below what verifiers read


def _issuer(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an issuer is an http or https URL, e.g. https://auth.example.com")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("an issuer has no query and no fragment (RFC 8414 2)")
    if url.endswith("/"):
        raise ValueError("write the issuer without a slash at the end: tokens carry it letter for letter")
    if parts.path:
        raise ValueError("an issuer with a path is not supported: give Sealwright a host name of its own")
    if len(url.encode()) > _MAX_ISSUER:
        raise ValueError(
            f"an issuer has at most {_MAX_ISSUER} characters: it is in tokens, which must stay below 8,192"
        )
    if "@" in parts.netloc:
        raise ValueError("an issuer has no user name or password in it: every token shows it to everybody")
    return url


def _namespace(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ValueError("use 1 to 64 letters, digits, dots, dashes or underscores")
    return name


def _server(form: str, *schemes: str) -> AfterValidator:
    """Refuse a URL that the drivers would misread, in words that quote nothing of it.

    A `/`, `?`, `#` or `[` that is not encoded ends a password early; its beginning then passes for a port, which
    the drivers quote when they refuse it.
    """

    def check(secret: SecretStr) -> SecretStr:
        try:
            parts = urlsplit(secret.get_secret_value())
        except ValueError:
            parts = urlsplit("")
        hosts = parts.netloc.rpartition("@")[2].split(",")  # Postgres may have several
        if (
            parts.scheme not in schemes
            or not all(_HOST.fullmatch(host) for host in hosts)
            or parts.fragment
            or "@" in parts.path + parts.query
        ):
            raise ValueError(
                f"it has the form {form}; in a password, percent-encode all but letters and digits (/ is %2F)"
            )
        return secret

    return AfterValidator(check)


_POSTGRES = "postgresql://user:password@host:5432/name"
_REDIS = "redis://:password@host:6379/0"
_HOST = re.compile(r"([^\[\]:]*|\[[0-9A-Fa-f:.%]+\])(:[0-9]+)?")


class Settings(BaseSettings):
    """What one deployment decides. Every replica of it must have the same values."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    issuer: Annotated[str, AfterValidator(_issuer)] = Field(
        description="The public URL of this service, the `iss` of every token. No slash at the end."
    )
    database_url: Annotated[SecretStr, _server(_POSTGRES, "postgresql", "postgres")] = Field(
        description=f"PostgreSQL 15 or later: {_POSTGRES}"
    )
    redis_url: Annotated[SecretStr, _server(_REDIS, "redis", "rediss", "unix")] = Field(
        description=f"Redis or Valkey 6.2 or later, eviction policy noeviction: {_REDIS}"
    )
    redis_namespace: Annotated[str, AfterValidator(_namespace)] = Field(
        "sealwright", description="Begins every key in Redis, so that several issuers can share one."
    )
    keys_dir: Path = Field(Path("keys"), description="Where the signing keys are: PEM files of mode 0600.")
    key_store: Literal["files", "postgres"] = Field(
        "files",
        description="Where the signing keys are kept: `files` in KEYS_DIR, which all replicas share, or `postgres`, "
        "sealed with the key-encryption key.",
    )
    key_encryption_key: SecretStr | None = Field(
        None,
        description="Seals the private keys in Postgres: 32 bytes in base64 (openssl rand -base64 32). "
        "Two, the new one first, while it is changed.",
    )
    key_encryption_key_file: Path | None = Field(
        None, description="A file that holds the key-encryption key instead."
    )
    key_rotation: Duration = Field(
        timedelta(days=90), description="The signing key is changed by itself after this; 0 turns it off."
    )
    key_publication: Duration = Field(
        timedelta(hours=1),
        description="How long a new key is published before it signs; not below JWKS_MAX_AGE.",
    )
    key_watch_interval: Duration = Field(
        timedelta(seconds=1),
        description="How often a worker looks at the key ring. It counts on all having taken up a change after ten "
        "looks.",
    )
    environment: Literal["production", "development"] = Field(
        "production",
        description="`development` allows an http issuer, /docs and /openapi.json. Never use it with real users.",
    )

    host: str = Field("127.0.0.1", description="The address that `sealwright serve` listens on.")
    port: int = Field(8000, ge=1, le=65535, description="The port that `sealwright serve` listens on.")
    workers: int = Field(1, ge=1, description="Processes of `sealwright serve`; one a core is right.")
    shutdown_timeout: int = Field(
        20, ge=1, description="Seconds that requests under way are given when the service stops."
    )
    drain_delay: Duration = Field(
        timedelta(0),
        description="How long a worker that was told to stop still answers, while /readyz says that it is going. "
        "As long as whoever spreads the load takes to notice.",
    )
    keep_alive: int = Field(
        75,
        ge=1,
        description="Seconds that an idle connection is kept; longer than the proxy in front keeps its own.",
    )
    max_connections: int = Field(
        1000,
        ge=1,
        description="Connections of one worker, and so requests under way; more get 503 with Retry-After.",
    )
    trusted_proxies: Networks = Field(
        (),
        description="Networks of the proxies in front, e.g. 10.0.0.0/8,fd00::/8: what they say of where a request "
        "came from is believed. Nobody is, unless named here.",
    )
    proxy_header: ProxyHeader = Field(
        "X-Forwarded-For",
        description="The header that the trusted proxies write; Forwarded is RFC 7239. No other is read.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important lines that are logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="`json` is one object a line; `auto` is that, but text in development."
    )
    access_log: bool = Field(
        False, description="Whether each request is a line of the log; a refusal is one in any case."
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="A port of its own for GET /metrics, of all workers of one `sealwright serve`. None: none.",
    )
    metrics_host: str = Field("127.0.0.1", description="The address that `SEALWRIGHT_METRICS_PORT` is on.")
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="What Prometheus sends as bearer token. With it, /metrics is open on the main port as well.",
    )

    otel_endpoint: str | None = Field(
        None,
        pattern="^https?://",
        description="Where spans go, by OTLP over HTTP: http://collector:4318. Takes the extra `otel`. None: nowhere.",
    )

    signing_algorithm: Algorithm = Field("RS256", description="What new keys sign with.")
    access_token_lifetime: Duration = Field(
        timedelta(minutes=15), description="How long an access token is good for, in seconds or ISO 8601."
    )
    max_access_token_lifetime: Duration = Field(
        timedelta(hours=1),
        description="The longest life of any access token. Revocations and retired keys are kept this long, so "
        "lower it only once the last token made under the higher value is over.",
    )
    refresh_token_idle: Duration = Field(
        timedelta(days=14), description="A session that is not refreshed for so long is over."
    )
    session_lifetime: Duration = Field(
        timedelta(days=90), description="A session ends after this, however often it is refreshed."
    )
    refresh_grace: Duration = Field(
        timedelta(seconds=30),
        description="How long the token before the live one still gets the same successor. 0 turns it off.",
    )
    leeway: Duration = Field(
        timedelta(seconds=60),
        description="The greatest clock leeway of any verifier in the fleet; revocations and retired keys "
        "outlive their tokens by it.",
    )
    jwks_max_age: Duration = Field(
        timedelta(minutes=5),
        description="How long others may keep the JWKS.",
    )

    jwks_uri_loopback: bool = Field(
        default=False,
        description="Whether a client's jwks_uri may lead to this machine; in development only. Never elsewhere "
        "than to public addresses.",
    )

    request_deadline: Duration = Field(
        timedelta(seconds=5),
        description="A rotation happens within this of the request's arrival or not at all.",
    )
    database_pool_size: int = Field(10, ge=1, description="Connections to Postgres of one worker.")
    database_timeout: Duration = Field(
        timedelta(seconds=5), description="The longest wait for a connection or a statement of Postgres."
    )
    redis_timeout: Duration = Field(
        timedelta(seconds=1), description="The longest wait for an answer of Redis; then Postgres is asked."
    )
    watch_interval: Duration = Field(
        timedelta(milliseconds=400),
        description="How often a worker looks at Postgres for new revocations and changed clients or roles.",
    )
    catalog_max_age: Duration = Field(
        timedelta(seconds=30),
        description="How old a worker's copy of clients and roles may grow while Postgres is away; then 503.",
    )

    password_memory_kib: int = Field(
        65536, ge=8, le=MAX_ARGON2_MEMORY, description="Argon2id memory of one hash, in KiB."
    )
    password_iterations: int = Field(3, ge=1, description="Argon2id iterations.")
    password_parallelism: int = Field(4, ge=1, le=64, description="Argon2id lanes.")
    password_threads: int = Field(1, ge=1, description="Hashes computed at once by one worker.")
    password_wait: Duration = Field(
        timedelta(seconds=2),
        description="How long a sign-in may have to wait for its hash, as far as can be foreseen; who would wait for "
        "longer gets 503 with Retry-After at once.",
    )
    password_queue: int = Field(
        32, ge=1, description="Sign-ins that wait for a hash in one worker at most, however quick hashes are."
    )
    password_min_length: int = Field(8, ge=1, le=128, description="The shortest password that can be set.")

    guesses_per_account: int = Field(
        5,
        ge=0,
        description="Wrong passwords for an account from one address before each further try has to wait, longer each "
        "time; 0: no limit.",
    )
    guesses_per_address: int = Field(
        100,
        ge=0,
        description="Wrong passwords from one address in an hour, whatever the accounts, before further tries have to "
        "wait; the same for failed client authentications. 0: no limit.",
    )
    guesses_per_client: int = Field(
        20,
        ge=0,
        description="Failed authentications as one client from one address in an hour before further ones have to "
        "wait; a right secret never has to. 0: no limit.",
    )
    guess_longest_wait: Duration = Field(
        timedelta(minutes=15),
        description="The longest of these waits: the first is a second, each further failure doubles it.",
    )
    registrations_per_address: int = Field(
        20,
        ge=0,
        description="Registrations from one address in an hour before further ones have to wait; 0: no limit.",
    )

    registration: Literal["off", "open"] = Field(
        "off", description="`open`: anybody may make themselves a user, at POST /users."
    )
    registration_roles: Names = Field(
        (), description="What roles those users have, e.g. buyer,reader; none unless named here."
    )
    self_deletion: Literal["off", "on"] = Field(
        "off", description="Whether users may delete their own account: DELETE /me, with their password."
    )

    session_retention: Duration = Field(
        timedelta(days=7), description="How long the row of a session that is over is kept for its story."
    )
    audit_retention: Duration = Field(
        timedelta(days=90),
        ge=timedelta(days=1),  # as the table's own trigger demands
        description="How long audit events are kept; a day at least.",
    )
    janitor_interval: Duration = Field(
        timedelta(minutes=1), description="How often each worker deletes a little of what is over."
    )

    @model_validator(mode="after")
    def _hang_together(self) -> "Settings":
        if self.environment == "production" and not self.issuer.startswith("https://"):
            raise ValueError(
                f"{PREFIX}ISSUER must be https in production (RFC 8414 2); "
                f"for a local stack set {PREFIX}ENVIRONMENT=development"
            )
        if self.environment == "production" and self.jwks_uri_loopback:
            raise ValueError(
                f"{PREFIX}JWKS_URI_LOOPBACK is for development: clients could reach what listens on this machine"
            )
        _refuse_absurd(self)
        for name in _NEVER_ZERO:
            if getattr(self, name) == timedelta(0):
                raise ValueError(f"{PREFIX}{name.upper()} must be greater than 0")
        if self.access_token_lifetime > self.max_access_token_lifetime:
            raise ValueError(
                f"{PREFIX}ACCESS_TOKEN_LIFETIME is longer than "
                f"{PREFIX}MAX_ACCESS_TOKEN_LIFETIME; raise the latter first"
            )
        if self.password_memory_kib * self.password_iterations > MAX_ARGON2_WORK:
            raise ValueError(
                f"{PREFIX}PASSWORD_MEMORY_KIB times {PREFIX}PASSWORD_ITERATIONS must not exceed {MAX_ARGON2_WORK:,}"
            )
        if self.refresh_grace >= self.refresh_token_idle:
            raise ValueError(f"{PREFIX}REFRESH_GRACE must be shorter than {PREFIX}REFRESH_TOKEN_IDLE")
        if self.request_deadline + self.catalog_max_age > STALENESS:
            raise ValueError(
                f"{PREFIX}REQUEST_DEADLINE and {PREFIX}CATALOG_MAX_AGE together must not exceed {STALENESS}"
            )
        _check_keys(self)
        return self

    @field_validator("key_encryption_key_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            try:
                path.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{path} cannot be read ({type(error).__name__})") from None
        return path

    @property
    def key_encryption_words(self) -> SecretStr | None:
        """The key-encryption key as it was given, by its variable or in its file."""
        if self.key_encryption_key_file is None:
            return self.key_encryption_key
        return SecretStr(self.key_encryption_key_file.read_text())

    @property
    def development(self) -> bool:
        """Whether this is a developer's machine: conveniences that a real deployment must not have."""
        return self.environment == "development"

    @property
    def log_rendering(self) -> Literal["json", "text"]:
        """What `log_format` comes to."""
        if self.log_format == "auto":
            return "text" if self.development else "json"
        return self.log_format

    @property
    def revocation_lifetime(self) -> timedelta:
        """How long a revocation of many tokens is kept: until the last token it kills has ended anywhere."""
        return self.max_access_token_lifetime + self.leeway + STALENESS


def _same(name: str) -> Any:
    return Settings.model_fields[name]


class KeySettings(BaseSettings):
    """What looking after the keys needs of `Settings`: they are made before there is a database or a name."""

    model_config = Settings.model_config

    keys_dir: Path = _same("keys_dir")
    key_store: Literal["files", "postgres"] = _same("key_store")
    key_rotation: Duration = _same("key_rotation")
    key_publication: Duration = _same("key_publication")
    key_watch_interval: Duration = _same("key_watch_interval")
    signing_algorithm: Algorithm = _same("signing_algorithm")
    max_access_token_lifetime: Duration = _same("max_access_token_lifetime")
    refresh_token_idle: Duration = _same("refresh_token_idle")
    leeway: Duration = _same("leeway")
    jwks_max_age: Duration = _same("jwks_max_age")

    @model_validator(mode="after")
    def _never_before(self) -> "KeySettings":
        _refuse_absurd(self)
        _check_keys(self)
        return self


class PostgresSettings(BaseSettings):
    """What reaching Postgres needs of `Settings`."""

    model_config = Settings.model_config

    database_url: SecretStr = _same("database_url")
    database_pool_size: int = _same("database_pool_size")
    workers: int = _same("workers")


class RedisSettings(BaseSettings):
    """What reaching Redis needs of `Settings`."""

    model_config = Settings.model_config

    redis_url: SecretStr = _same("redis_url")
    redis_namespace: str = _same("redis_namespace")


class IssuerSettings(BaseSettings):
    """What finding the issuer needs of `Settings`."""

    model_config = Settings.model_config

    issuer: str = _same("issuer")


class _Deployment(BaseSettings):
    """What points at one deployment, whatever it says."""

    model_config = Settings.model_config

    issuer: str | None = None
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    keys_dir: Path | None = None


_NEVER_ZERO = (
    "access_token_lifetime",
    "refresh_token_idle",
    "session_lifetime",
    "request_deadline",
    "database_timeout",
    "redis_timeout",
    "guess_longest_wait",
    "watch_interval",
    "catalog_max_age",
    "password_wait",
    "janitor_interval",
)
_LONGEST = timedelta(days=36500)


def _refuse_absurd(settings: BaseSettings) -> None:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, timedelta):
            if value < timedelta(0):
                raise ValueError(f"{PREFIX}{name.upper()} must not be negative")
            if value > _LONGEST:
                # Added to a moment, it would leave what Python and Postgres can tell the time of.
                raise ValueError(f"{PREFIX}{name.upper()} must not be longer than 100 years")


def _check_keys(settings: Settings | KeySettings) -> None:
    if settings.key_watch_interval == timedelta(0):
        raise ValueError(f"{PREFIX}KEY_WATCH_INTERVAL must be greater than 0")
    if settings.key_publication < settings.jwks_max_age:
        raise ValueError(
            f"{PREFIX}KEY_PUBLICATION must not be shorter than {PREFIX}JWKS_MAX_AGE: "
            "a new key would sign before everybody has fetched it"
        )


class SettingsError(Exception):
    """Settings are missing or wrong; the text names each variable and what to do."""


def load(**overrides: object) -> Settings:
    """Read the settings, `overrides` first.

    Raises:
        SettingsError: with one line a variable.
    """
    return _read(Settings, overrides)


def load_for_keys(**overrides: object) -> KeySettings:
    """Read what the keys commands need, and nothing that they do not. Raises as `load`."""
    return _read(KeySettings, overrides)


def read_part(kind: type[_AnySettings]) -> _AnySettings:
    """Read one part of the settings, whatever may be wrong with the others. Raises as `load`."""
    return _read(kind, {})


def deployment() -> list[str]:
    """Return the variables, of the environment and `.env`, that point at a deployment. Raises as `load`."""
    given = _read(_Deployment, {}).model_fields_set
    return [PREFIX + name.upper() for name in _Deployment.model_fields if name in given]


def _read(kind: type[_AnySettings], overrides: Mapping[str, object]) -> _AnySettings:
    try:
        return kind(**overrides)  # type: ignore[arg-type]  # checked by pydantic
    except ValidationError as error:
        raise SettingsError("\n".join(_line(dict(e)) for e in error.errors())) from None


def _line(error: dict[str, object]) -> str:
    loc = error["loc"]
    assert isinstance(loc, tuple)
    message = str(error["msg"]).removeprefix("Value error, ")
    if not loc:
        return message
    name = str(loc[0])
    field = Settings.model_fields.get(name)
    variable = PREFIX + name.upper()
    if error["type"] == "missing" and field is not None:
        return f"{variable} is not set. {field.description}"
    return f"{variable}: {message}"
