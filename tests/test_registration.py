"""Users who come by themselves, where the deployment lets them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.actors import PASSWORD, READER, Actors
from tests.support.client import Api, unique
from tests.support.database import sql
from tests.support.deployment import Deployment, Server
from tests.support.refusals import LogTail, assert_problem


@pytest.fixture
def own(welcoming: Server) -> Iterator[Api]:
    """The service where anybody may register."""
    tail = LogTail(welcoming.log)
    with httpx2.Client(base_url=welcoming.url, timeout=30) as client:
        yield Api(client)
    tail.assert_clean(PASSWORD)


def register(api: Api, **body: Any) -> httpx2.Response:
    return api.http.post("/users", json={"username": unique("Carol"), "password": PASSWORD, **body})


def test_it_is_not_there_unless_it_is_said_to_be_open(api: Api) -> None:
    assert_problem(register(api), 404)
    assert "/users" not in api.http.get("/openapi.json").json()["paths"]


def test_who_registers_signs_in_with_the_roles_of_the_settings(deployment: Deployment, own: Api) -> None:
    name = unique("Carol")

    answer = register(own, username=name, email=f"{name}@Example.com")

    assert answer.status_code == 201
    body = answer.json()
    assert body == {"sub": body["sub"], "username": name.lower(), "email": f"{name}@example.com".lower()}
    session = own.sign_in(f"{name}@example.com", PASSWORD)
    assert session.claims["sub"] == body["sub"]
    assert session.claims["roles"] == [READER]
    told = sql(
        deployment.database_url,
        "SELECT event, address FROM audit_events WHERE user_id = $1::uuid",
        body["sub"],
    )
    assert tuple(told[0]) == ("user.registered", "127.0.0.1")


def test_nobody_chooses_their_own_roles(own: Api) -> None:
    name = unique("mallory")

    assert register(own, username=name, roles="editor", role="editor").status_code == 201

    assert own.sign_in(name, PASSWORD).claims["roles"] == [READER]


def test_a_name_and_an_address_that_are_taken_are_not_told_apart(own: Api, actors: Actors) -> None:
    user = actors.user()
    spelled = user.username.upper()

    answers = [
        register(own, username=user.username),
        register(own, username=spelled),
        register(own, email=f"{spelled}@EXAMPLE.com"),
    ]

    for answer in answers:
        assert_problem(answer, 409)
    assert len({answer.json()["detail"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"username": "a@example.com"},
        {"username": "   "},
        {"username": "x" * 65},
        {"username": None},
        {"email": "nobody"},
        {"email": "a@b@c"},
        {"email": f"{'x' * 260}@example.com"},
        {"password": "short"},
        {"password": "x" * 1025},
        {"password": None},
    ],
)
def test_what_will_not_do_is_refused(own: Api, body: dict[str, Any]) -> None:
    assert_problem(register(own, **body), 400)


def test_of_many_at_once_with_one_name_one_gets_it(welcoming: Server) -> None:
    body = {"username": unique("dave"), "password": PASSWORD}

    async def all_at_once() -> list[int]:
        async with httpx2.AsyncClient(base_url=welcoming.url, timeout=30) as http:
            answers = await asyncio.gather(*(http.post("/users", json=body) for _ in range(8)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(all_at_once()) == [201] + [409] * 7
