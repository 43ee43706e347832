"""`sealwright apply`: what a file under version control says is so, once the command has ended."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from service.clients.store import new_secret
from tests.support.actors import PASSWORD, Actors
from tests.support.assertions import Signer, jwks, proof
from tests.support.client import Api, tokens, unique
from tests.support.command import Command
from tests.support.database import sql
from tests.support.deployment import Deployment
from tests.support.processes import eventually

STATE = "SELECT version, (SELECT max(id) FROM audit_events) FROM catalog_version"


class Names:
    """Of one test's own."""

    def __init__(self) -> None:
        self.uri = f"https://{unique('stock')}.example.com"
        self.role, self.shop, self.job = unique("clerk"), unique("shop"), unique("job")

    def file(self, **changed: Any) -> dict[str, Any]:
        return {
            "resources": {self.uri: {"scopes": ["stock:read", "stock:write"], "client_id": self.job}},
            "roles": {self.role: {"scopes": ["stock:read"]}},
            "clients": {
                self.shop: {
                    "name": "The shop",
                    "public": True,
                    "first_party": True,
                    "grant_types": ["password", "refresh_token"],
                    "scopes": ["stock:read"],
                    "default_scopes": ["stock:read"],
                    "resources": [self.uri],
                    "default_resources": [self.uri],
                    "origins": ["https://shop.example.com"],
                    "access_token_lifetime": 120,
                    "refresh_token_idle": "PT1H",
                },
                self.job: {
                    "grant_types": ["client_credentials"],
                    "scopes": ["stock:read"],
                    "resources": [self.uri],
                    "default_resources": [self.uri],
                },
            },
        } | changed


@pytest.fixture
def names() -> Names:
    return Names()


def written(tmp_path: Path, content: object) -> str:
    path = tmp_path / "sealwright.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_a_file_makes_what_it_names_and_a_second_time_there_is_nothing_to_do(
    command: Command, deployment: Deployment, api: Api, tmp_path: Path, names: Names
) -> None:
    file = written(tmp_path, names.file())
    first = command.json("apply", file)
    user = unique("clerk")
    command("users", "add", user, "--role", names.role, "--password-stdin", stdin=PASSWORD)
    state = sql(deployment.database_url, STATE)
    second = command.json("apply", file)

    assert {(change["name"], change["action"]) for change in first["changes"]} == {
        (name, "add") for name in (names.uri, names.role, names.shop, names.job)
    }
    assert list(first["secrets"]) == [names.job]
    assert second == {"changes": [], "secrets": {}}
    assert sql(deployment.database_url, STATE) == state
    form = {"grant_type": "client_credentials", "scope": "stock:read"}
    answer = api.http.post("/token", data=form, auth=(names.job, first["secrets"][names.job]))
    assert tokens(answer).claims["aud"] == names.uri
    session = api.sign_in(user, PASSWORD, client_id=names.shop)
    assert session.body["expires_in"] == 120
    assert session.claims["exp"] - session.claims["iat"] == 120


def test_a_dry_run_shows_the_difference_and_changes_nothing(
    command: Command, deployment: Deployment, tmp_path: Path, names: Names
) -> None:
    file = written(tmp_path, names.file())
    before = sql(deployment.database_url, STATE)
    command("apply", file, "--dry-run", "--exit-code", code=3)
    assert sql(deployment.database_url, STATE) == before
    command("apply", file)

    content = names.file()
    content["resources"][names.uri]["scopes"] = ["stock:read", "stock:count"]
    content["clients"][names.shop].pop("access_token_lifetime")
    content["clients"][names.shop]["name"] = "Another shop"
    shown = command("apply", written(tmp_path, content), "--dry-run")

    assert shown.stdout.splitlines() == [
        f"~ clients.{names.shop} (change)",
        "    name: The shop -> Another shop",
        "    access_token_lifetime: 0:02:00 -> none",
        f"~ resources.{names.uri} (change)",
        "    scopes: -stock:write +stock:count",
    ]
    assert "Nothing was done" in shown.stderr
    command("apply", written(tmp_path, names.file()), "--dry-run", "--exit-code", code=0)


def test_what_the_file_does_not_name_stays_without_prune_and_goes_with_it(
    server_urls: tuple[str, str], empty_database: str, tmp_path: Path, command: Command, names: Names
) -> None:
    own = Deployment(empty_database, server_urls[1], tmp_path, "http://localhost:8000")
    own.prepare()
    command.of(own)
    command("apply", written(tmp_path, names.file()))
    empty = names.file(resources={}, clients={})
    empty.pop("roles")

    assert command.json("apply", written(tmp_path, empty))["changes"] == []
    gone = command.json("apply", written(tmp_path, empty), "--prune")["changes"]

    assert {(change["part"], change["action"]) for change in gone} == {
        ("clients", "disable"),
        ("resources", "remove"),
    }
    assert all(client["disabled"] for client in command.json("clients", "list"))
    assert command.json("resources", "list") == []
    assert names.role in {role["name"] for role in command.json("roles", "list")}
    assert command.json("apply", written(tmp_path, empty), "--prune")["changes"] == []


def test_a_client_that_a_file_disables_is_shut_out_and_stays_so_until_it_is_told_otherwise(
    command: Command, api: Api, actors: Actors, tmp_path: Path, names: Names
) -> None:
    command("apply", written(tmp_path, names.file()))
    user = actors.user()
    session = api.sign_in(user.username, PASSWORD, client_id=names.shop)
    content = names.file()
    content["clients"][names.shop]["disabled"] = True

    command("clients", "apply", written(tmp_path, content))

    assert api.me(session.access).status_code == 401
    # A file that does not speak of it leaves it so: an emergency is not undone by the next commit.
    assert command.json("apply", written(tmp_path, names.file()))["changes"] == []
    content["clients"][names.shop]["disabled"] = False
    [change] = command.json("apply", written(tmp_path, content))["changes"]
    assert change["action"] == "enable"
    assert api.me(api.sign_in(user.username, PASSWORD, client_id=names.shop).access).status_code == 200
    assert api.me(session.access).status_code == 401


def test_a_narrowed_client_gets_less_at_its_next_refresh(
    command: Command, api: Api, actors: Actors, tmp_path: Path, names: Names
) -> None:
    content = names.file()
    content["clients"][names.shop] |= {"scopes": ["stock:read", "orders:read"]}
    command("apply", written(tmp_path, content))
    session = api.sign_in(actors.user().username, PASSWORD, client_id=names.shop, scope="account")
    content["clients"][names.shop] |= {"first_party": False, "grant_types": ["refresh_token"]}
    command("apply", written(tmp_path, content))

    def scope() -> str:
        return str(api.refresh(session.refresh).json().get("scope"))

    eventually(lambda: "account" not in scope(), within=20)


def test_each_part_can_be_applied_alone(command: Command, tmp_path: Path, names: Names) -> None:
    file = written(tmp_path, names.file())

    assert "There is no resource" in command.refused("clients", "apply", file)
    assert "There is no client" in command.refused("resources", "apply", file)
    [role] = command.json("roles", "apply", file)["changes"]
    assert role["name"] == names.role
    command("apply", file)
    assert command.json("clients", "apply", file)["changes"] == []


def test_secrets_stay_out_of_the_file_as_digests_or_keys(
    command: Command, http: httpx2.Client, tmp_path: Path, names: Names
) -> None:
    old, new, signer = new_secret(), new_secret(), Signer()
    content = names.file()
    job = content["clients"][names.job]
    digests = [sha256(secret.encode()).hexdigest() for secret in (old, new)]

    def status(secret: str) -> int:
        form = {"grant_type": "client_credentials"}
        return http.post("/token", data=form, auth=(names.job, secret)).status_code

    job["secret_sha256"] = digests
    assert command.json("apply", written(tmp_path, content))["secrets"] == {}
    assert [status(old), status(new), status(new_secret())] == [200, 200, 401]

    job.pop("secret_sha256")
    assert command.json("apply", written(tmp_path, content))["changes"] == []

    job["jwks"] = json.loads(jwks(signer))
    [change] = command.json("apply", written(tmp_path, content))["changes"]
    assert set(change["fields"]) == {"jwks"}
    form = {"grant_type": "client_credentials", **proof(signer.assertion(names.job))}
    assert http.post("/token", data=form).status_code == 200
    assert command.json("apply", written(tmp_path, content))["changes"] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "clients:\n  a:\n    public: true\n  a:\n    public: true\n",
            "line 4: this is not YAML: 'a' stands twice",
        ),
        ("clients:\n  a:\n    publik: true\n", "line 3: clients.a.publik: there is no such setting"),
        ("client: {}\n", "line 1: client: there is no such setting"),
        ("clients:\n  a:\n    scopes:\n      - x\n      - 7\n", "line 5: clients.a.scopes.1: "),
        ("clients:\n  a:\n    public: 'yes'\n", "line 3: clients.a.public: "),
        ("clients:\n  a:\n    access_token_lifetime: yes\n", "line 3: clients.a.access_token_lifetime: "),
        ("clients:\n  a:\n    secret: swcs_hush\n", "line 3: clients.a.secret: there is no such setting"),
        ("clients:\n  a:\n    secret_sha256: [hush]\n", "line 3: clients.a.secret_sha256.0: "),
        ("clients: [a]\n", "line 1: clients: "),
        ("x: &x {}\nclients:\n  a: *x\n", "line 1: this is not YAML: references"),
        ("clients: {\n", "this is not YAML"),
        ("!!python/object:os.system {}\n", "this is not YAML"),
        ("clients:\n  a:\n    access_token_lifetime: 7200\n", "SEALWRIGHT_MAX_ACCESS_TOKEN_LIFETIME"),
        ("clients:\n  a:\n    refresh_token_idle: P30D\n", "SEALWRIGHT_REFRESH_TOKEN_IDLE"),
        ("clients:\n  a:\n    session_lifetime: P100D\n", "SEALWRIGHT_SESSION_LIFETIME"),
        (
            "clients:\n  a:\n    refresh_token_idle: 20\n    refresh_grace: 30\n",
            "shorter than its refresh_token_idle",
        ),
        ("clients:\n  a:\n    origins: [https://a.example]\n", "Origins are for public clients"),
        ("clients:\n  a:\n    public: true\n    origins: [http://a.example]\n", "cannot be an origin"),
        ("clients:\n  a:\n    public: true\n    origins: ['https://a.example:443']\n", "cannot be an origin"),
        ("clients:\n  a:\n    public: true\n    origins: ['*']\n", "cannot be an origin"),
        ("clients:\n  a:\n    jwks_uri: http://a.example/keys\n", "A jwks_uri is an https URL"),
        ("clients:\n  a:\n    jwks: {keys: []}\n", 'no array "keys" with a key in it'),
        ("clients:\n  a:\n    jwks: {keys: [{kty: oct, kid: a, k: aHVzaA}]}\n", "private or symmetric"),
        (
            "clients:\n  a:\n    jwks: {keys: [{kty: EC, crv: P-256, kid: a, d: aHVzaA}]}\n",
            "private or symmetric",
        ),
        (
            "clients:\n  a:\n    public: true\n    jwks_uri: https://a.example/keys\n",
            "A public client has no keys",
        ),
        ("clients:\n  a b:\n    public: true\n", "clients.a b: A client_id is 1 to 64"),
        ("roles:\n  a b: {}\n", "roles.a b: A role's name"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place_and_changes_nothing(
    command: Command, deployment: Deployment, tmp_path: Path, text: str, said: str
) -> None:
    before = sql(deployment.database_url, STATE)
    refused = command("apply", written(tmp_path, text), code=1)

    assert said in refused.stderr
    assert refused.stdout == ""
    assert "hush" not in refused.stderr
    assert sql(deployment.database_url, STATE) == before


def test_a_role_that_users_have_is_not_removed(
    server_urls: tuple[str, str], empty_database: str, tmp_path: Path, command: Command
) -> None:
    own = Deployment(empty_database, server_urls[1], tmp_path, "http://localhost:8000")
    own.prepare()
    command.of(own)

    said = command("roles", "apply", written(tmp_path, "roles: {}\n"), "--prune", code=1).stderr

    assert "1 users have it" in said
