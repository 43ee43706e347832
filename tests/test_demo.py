"""`sealwright demo`: the users and clients that everybody knows, where they may be."""

from service.cli import demo
from tests.support.command import Command
from tests.support.deployment import Deployment


def test_the_demo_may_be_added_again_and_again(command: Command) -> None:
    before = command.json("users", "list"), command.json("clients", "list")

    said = command("demo")

    assert demo.ALICE.username in said.stderr
    assert (command.json("users", "list"), command.json("clients", "list")) == before


def test_the_demo_never_gets_into_production(command: Command, deployment: Deployment) -> None:
    command.of(deployment.having(environment="production", issuer="https://auth.example.com"))

    assert "development mode only" in command.refused("demo")
