"""The demo of development mode: the names that the seed makes and the banner shows. Never in a deployment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """A person to sign in as, with `PASSWORD`."""

    username: str
    email: str
    role: str


@dataclass(frozen=True, slots=True)
class Client:
    """A first-party program to ask for tokens with; public without a secret."""

    client_id: str
    name: str
    secret: str | None
    grant_types: tuple[str, ...]


PASSWORD = "wonderland"  # noqa: S105  # known to everybody, by design

RESOURCE = "http://localhost:8001"
RESOURCE_SCOPES = ("orders:read", "orders:write")

ROLES: dict[str, tuple[str, ...]] = {"editor": RESOURCE_SCOPES, "admin": RESOURCE_SCOPES}

ALICE = User("alice", "alice@example.com", "editor")
ROOT = User("root", "root@example.com", "admin")
USERS = (ALICE, ROOT)

SERVICE_SECRET = "demo-service-secret"  # noqa: S105  # as above
SERVICE = Client(
    "demo-service", "Demo service", SERVICE_SECRET, ("password", "client_credentials", "refresh_token")
)
APP = Client("demo-app", "Demo app", None, ("password", "refresh_token"))
CLIENTS = (SERVICE, APP)
