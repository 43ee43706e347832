"""The demo of development mode: the names that the seed makes and the banner shows. Never in a deployment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Role:
    """A role and the scopes it carries beyond those of every user."""

    name: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    """A person to sign in as."""

    username: str
    email: str
    password: str
    role: str


@dataclass(frozen=True, slots=True)
class Client:
    """A first-party program to ask for tokens with; public without a secret."""

    client_id: str
    secret: str | None
    grant_types: tuple[str, ...]


RESOURCE = "http://localhost:8001"
RESOURCE_SCOPES = ("orders:read", "orders:write")

EDITOR = Role("editor", RESOURCE_SCOPES)

ALICE = User("alice", "alice@example.com", "wonderland", EDITOR.name)
ROOT = User("root", "root@example.com", "wonderland", "admin")
USERS = (ALICE, ROOT)

SERVICE = Client(
    "demo-service", "demo-service-secret", ("password", "client_credentials", "refresh_token")
)
APP = Client("demo-app", None, ("password", "refresh_token"))
CLIENTS = (SERVICE, APP)
