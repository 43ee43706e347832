"""Every setting, from the environment or a `.env` file; nothing else reads either."""

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a deployment decides: `ORDERS_ISSUER` and so on."""

    model_config = SettingsConfigDict(env_prefix="ORDERS_", env_file=".env", extra="ignore", frozen=True)

    database_url: SecretStr
    """`postgresql://user:password@host:5432/orders`; its one table is made at the start."""

    issuer: str
    """Whose tokens count: their `iss`, letter for letter."""
    internal_url: str | None = None
    """Where the issuer is reached from here, if not by its name: `http://auth:8000` in a network of containers."""
    audience: str
    """The URI that this service is registered by; tokens must have it in `aud`."""
    client_id: str
    """Of the client that this service is registered with; it reads the revocations."""
    client_secret: SecretStr

    stale: Literal["introspect", "refuse", "accept"] = "introspect"
    """What becomes of a good token while nothing has been heard of revocations for longer than `max_feed_age`."""
    max_feed_age: float = Field(30, gt=0)
    """In seconds."""
    development: bool = False
    """Whether /docs is there, with a button to sign in."""
