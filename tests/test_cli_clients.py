"""`sealwright clients`, `resources` and `roles`: a running service knows them when the command has ended."""

import asyncio
from typing import Any

import httpx2
import pytest

from service.clients.store import new_secret
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, tokens, unique
from tests.support.command import Command
from tests.support.database import sql, until
from tests.support.deployment import Deployment

ORDERS = "http://localhost:8001"


def credentials(http: httpx2.Client, client_id: str, secret: str, **more: str) -> httpx2.Response:
    form = {"grant_type": "client_credentials", **more}
    return http.post("/token", data=form, auth=(client_id, secret))


def listed(command: Command, noun: str, key: str, name: str) -> dict[str, Any]:
    [item] = [item for item in command.json(noun, "list") if item[key] == name]
    found: dict[str, Any] = item
    return found


def test_a_client_added_this_second_gets_a_token_for_a_resource_added_this_second(
    deployment: Deployment, http: httpx2.Client
) -> None:
    client_id, uri = unique("stock"), f"https://{unique('stock')}.example.com"
    deployment.cli("resources", "add", uri, "--scope", "stock:read", "--scope", "stock:write")
    done = deployment.cli(
        *("clients", "add", client_id, "--grant", "client_credentials"),
        *("--scope", "stock:read", "--default-scope", "stock:read"),
        *("--resource", uri, "--default-resource", uri),
    )
    secret = done.stdout.removesuffix("\n")

    answer = tokens(credentials(http, client_id, secret))

    assert answer.claims["aud"] == uri
    assert answer.claims["scope"] == "stock:read"
    assert "only time" in done.stderr
    assert secret not in done.stderr
    assert "Warning" not in done.stderr


def test_the_secret_is_shown_once_and_stored_as_a_hash_alone(
    deployment: Deployment, command: Command
) -> None:
    client_id = unique("client")
    shown = command.json("clients", "add", client_id, "--name", "Stock keeping", "--refresh-grace", "0")
    secret = shown.pop("client_secret")

    assert secret.startswith("swcs_")
    assert shown == listed(command, "clients", "client_id", client_id)
    assert (shown["name"], shown["public"], shown["refresh_grace"]) == ("Stock keeping", False, 0)
    assert "secret" not in shown
    [row] = sql(deployment.database_url, "SELECT clients::text AS all FROM clients WHERE id = $1", client_id)
    assert secret not in row["all"]
    [event] = sql(
        deployment.database_url,
        "SELECT audit_events::text AS all FROM audit_events WHERE client_id = $1",
        client_id,
    )
    assert "client.added" in event["all"]
    assert secret not in event["all"]


def test_a_secret_can_be_brought_along(command: Command, http: httpx2.Client) -> None:
    client_id, secret = unique("client"), new_secret()
    added = command(
        "clients", "add", client_id, "--grant", "client_credentials", "--secret-stdin", stdin=secret
    )

    assert added.stdout == ""
    assert secret not in added.stderr
    assert (
        credentials(http, client_id, secret).json()["error"] == "invalid_target"
    )  # known, without a resource
    assert credentials(http, client_id, new_secret()).json()["error"] == "invalid_client"


def test_a_public_client_has_no_secret_and_signs_users_in(command: Command, api: Api, actors: Actors) -> None:
    client_id, user = unique("app"), actors.user()
    grants = ("--grant", "password", "--grant", "refresh_token")
    added = command("clients", "add", client_id, "--public", "--first-party", *grants, "--refresh-grace", "0")
    first = api.sign_in(user.username, PASSWORD, client_id=client_id)
    second = tokens(api.refresh(first.refresh))

    assert added.stdout == ""
    assert api.me(second.access).json()["client_id"] == client_id
    # Its own grace period of none: the second use of a token is a theft.
    assert api.refresh(first.refresh).status_code == 400
    assert not api.is_alive(second.access)


def test_a_disabled_client_is_shut_out_when_the_command_has_ended(
    deployment: Deployment, api: Api, http: httpx2.Client, actors: Actors
) -> None:
    client, user = actors.client(), actors.user()
    before = api.sign_in(user.username, PASSWORD, **client.form)
    assert api.is_alive(before.access)

    deployment.cli("clients", "disable", client.id)

    assert not api.is_alive(before.access)

    async def refresh() -> int:
        answer = api.refresh(before.refresh, **client.form)
        # A worker whose copy of the clients is a moment old makes a token, but a dead one.
        assert answer.status_code != 200 or not api.is_alive(tokens(answer).access)
        return answer.status_code

    asyncio.run(until(refresh, lambda status: status == 401, "the workers know that the client is disabled"))

    deployment.cli("clients", "enable", client.id)

    assert tokens(http.post("/token", data={"grant_type": "client_credentials"}, auth=client.basic)).access
    assert not api.is_alive(before.access)
    assert api.refresh(before.refresh, **client.form).status_code == 400


def test_a_resources_client_introspects_what_is_meant_for_it(command: Command, http: httpx2.Client) -> None:
    uri, serving, asking = f"https://{unique('stock')}.example.com", unique("stock"), unique("asker")
    secret = command("clients", "add", serving).stdout.strip()
    command("resources", "add", uri, "--scope", "stock:read", "--client", serving)
    resource = ("--resource", uri, "--default-resource", uri)
    its = command("clients", "add", asking, "--grant", "client_credentials", *resource).stdout.strip()
    token = tokens(credentials(http, asking, its))

    answer = http.post("/introspect", data={"token": token.access}, auth=(serving, secret))

    assert answer.json()["active"]
    assert listed(command, "resources", "uri", uri)["client_id"] == serving
    assert listed(command, "resources", "uri", uri)["scopes"] == ["stock:read"]


def test_a_new_role_carries_its_scopes(command: Command, api: Api) -> None:
    role, name = unique("clerk"), unique("clerk")
    command("roles", "add", role, "--scope", "orders:read")
    command("users", "add", name, "--role", role, "--password-stdin", stdin=PASSWORD)

    async def sign_in() -> str:
        return str(api.sign_in(name, PASSWORD).body["scope"])

    asyncio.run(until(sign_in, lambda scope: scope == "account orders:read", "the role is known to a worker"))
    assert listed(command, "roles", "name", role)["scopes"] == ["orders:read"]


def test_scopes_that_nobody_understands_are_allowed_with_a_warning(command: Command) -> None:
    role = command("roles", "add", unique("role"), "--scope", "orders:read", "--scope", "orders:raed")
    scopes = ("--scope", "orders:read", "--scope", "account", "--scope", "orders:wirte")
    client = command("clients", "add", unique("client"), *scopes)

    assert "no resource understands orders:raed, so nobody" in role.stderr
    assert "no resource understands orders:wirte, so nobody" in client.stderr


def test_each_addition_is_an_audit_event(command: Command, deployment: Deployment) -> None:
    role, uri, client_id = unique("role"), f"urn:example:{unique('stock')}", unique("client")
    command("roles", "add", role, "--scope", "orders:read")
    command("clients", "add", client_id, "--public", "--grant", "refresh_token")
    command("resources", "add", uri, "--client", client_id)

    rows = sql(
        deployment.database_url,
        "SELECT event, client_id, detail FROM audit_events WHERE client_id = $1 OR detail LIKE $2 ORDER BY id",
        client_id,
        f"{role}%",
    )
    assert [tuple(row) for row in rows] == [
        ("role.added", None, f"{role} orders:read"),
        ("client.added", client_id, "refresh_token"),
        ("resource.added", client_id, uri),
    ]


def test_tables_show_what_there_is(command: Command) -> None:
    assert "demo-service" in command("clients", "list").stdout
    assert ORDERS in command("resources", "list").stdout
    assert "orders:read orders:write" in command("roles", "list").stdout


def test_what_is_so_already_is_no_error(command: Command, actors: Actors) -> None:
    client = actors.client()

    assert "enabled already" in command("clients", "enable", client.id).stderr
    assert "tokens refused" in command("clients", "disable", client.id).stderr
    assert "disabled already" in command("clients", "disable", client.id).stderr
    assert listed(command, "clients", "client_id", client.id)["disabled"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["clients", "add", "demo-app"], "", "client_id is taken; see: sealwright clients list"),
        (
            ["clients", "add", "x", "--resource", "urn:no"],
            "",
            "no resource 'urn:no'; first: sealwright resources add",
        ),
        (["clients", "add", "x", "--grant", "implicit"], "", "choose from: password, client_credentials"),
        (
            ["clients", "add", "x", "--refresh-grace", "1209600"],
            "",
            "shorter than SEALWRIGHT_REFRESH_TOKEN_IDLE",
        ),
        (["clients", "add", "x", "--public", "--secret-stdin"], "", "A public client has no secret"),
        (["clients", "add", "x", "--secret-stdin"], "short\n", "at least 32 random characters"),
        (["clients", "add", "x", "--secret-stdin"], "", "nothing on stdin"),
        (["clients", "disable", "nobody"], "", "no client 'nobody'; see: sealwright clients list"),
        (["clients", "enable", "nobody"], "", "no client 'nobody'"),
        (["resources", "add", ORDERS], "", "there already; see: sealwright resources list"),
        (["resources", "add", "http://localhost:8000"], "", "The issuer is a resource by itself"),
        (["resources", "add", "orders"], "", "an absolute URI without a fragment"),
        (["resources", "add", "urn:x:y", "--scope", "a b"], "", "'a b' cannot be a scope"),
        (
            ["resources", "add", "urn:x:y", "--client", "nobody"],
            "",
            "no such client; see: sealwright clients",
        ),
        (["roles", "add", "editor"], "", "there already; see: sealwright roles list"),
        (["roles", "add", "a b"], "", "1 to 64 ASCII characters"),
        (["roles", "add", "x", "--scope", "a b"], "", "'a b' cannot be a scope"),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(
    command: Command, deployment: Deployment, arguments: list[str], stdin: str, said: str
) -> None:
    state = "SELECT version, (SELECT max(id) FROM audit_events) FROM catalog_version"
    before = sql(deployment.database_url, state)

    assert said in command.refused(*arguments, stdin=stdin)
    assert sql(deployment.database_url, state) == before
