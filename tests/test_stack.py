"""The Dockerfiles and docker-compose.yml, as far as one can tell without an engine. With one: make test-compose."""

import re
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from orders import settings as orders
from service.cli import demo
from service.settings import PREFIX, load
from tests.support.pages import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
DOCKERFILES = {"the service": DOCKERFILE, "orders": (ROOT / "examples" / "orders" / "Dockerfile").read_text()}
STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "sealwright"]

BOTH_READ = {
    *(
        "image",
        "build",
        "command",
        "entrypoint",
        "environment",
        "volumes",
        "ports",
        "depends_on",
        "healthcheck",
    ),
    *("read_only", "tmpfs", "cap_drop", "security_opt", "restart", "stop_grace_period"),
}
"""What Compose v2 and docker-compose 1.29 both know of a service, as far as it is used here."""


def test_both_readers_of_compose_know_every_word_of_the_stack() -> None:
    assert {name for name in STACK if not name.startswith("x-")} == {"services", "volumes"}
    for service in SERVICES.values():
        assert set(service) <= BOTH_READ
        build = service.get("build", "")
        assert isinstance(build, str) or set(build) <= {"context", "dockerfile"}
        for condition in service.get("depends_on", {}).values():
            assert condition["condition"] in {"service_healthy", "service_completed_successfully"}


@pytest.mark.parametrize("reader", [["docker", "compose"], ["docker-compose"]], ids=" ".join)
def test_a_reader_of_compose_that_is_here_takes_the_stack(reader: list[str]) -> None:
    here = (
        shutil.which(reader[0])
        and not subprocess.run([*reader, "version"], capture_output=True, timeout=30, check=False).returncode
    )
    if not here:
        return  # the test above stands in for it

    read = subprocess.run(
        [*reader, "config"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert read.returncode == 0, read.stderr


def test_the_stack_has_all_settings_and_is_for_development_alone() -> None:
    for name in OURS:
        given = SERVICES[name]["environment"]
        settings = load(_env_file=None, **{k.removeprefix(PREFIX).lower(): v for k, v in given.items()})
        assert settings.development
        grace = SERVICES[name].get("stop_grace_period", "30s")
        assert int(grace.removesuffix("s")) > settings.drain_delay.total_seconds() + settings.shutdown_timeout


def test_nothing_but_the_two_services_has_a_port_and_those_are_this_machines_own() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "auth": ["127.0.0.1:8000-8009:8000"],
        "orders": ["127.0.0.1:8010:8001"],
    }


def test_orders_trusts_the_issuer_of_the_stack_at_the_address_it_has_there() -> None:
    given = SERVICES["orders"]["environment"]
    settings = orders.Settings(
        _env_file=None, **{name.removeprefix("ORDERS_").lower(): value for name, value in given.items()}
    )

    assert settings.issuer == SERVICES["auth"]["environment"]["SEALWRIGHT_ISSUER"]
    assert settings.internal_url == "http://auth:8000"
    assert settings.audience == demo.RESOURCE
    assert settings.client_id == demo.SERVICE.client_id
    assert settings.client_secret.get_secret_value() == demo.SERVICE_SECRET


@pytest.mark.parametrize("name", [*OURS, "orders"])
def test_the_service_runs_with_no_right_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES)
def test_an_image_is_never_run_as_root(dockerfile: str) -> None:
    assert re.search(r"^USER 1000[12]:1000[12]$", dockerfile.rpartition("FROM")[2], re.MULTILINE)


def test_keys_and_data_outlive_their_containers() -> None:
    keys_dir = re.search(r"SEALWRIGHT_KEYS_DIR=(\S+)", DOCKERFILE)

    assert keys_dir
    for name in OURS:
        assert SERVICES[name]["volumes"] == [f"keys:{keys_dir[1]}"]
    # The image of 18 has its data below this folder, and refuses a volume at the old place.
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert set(STACK["volumes"]) == {"keys", "postgres"}


def test_nothing_gets_into_the_image_but_what_it_is_built_from() -> None:
    ignored = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in {"", "#"}
    ]
    copied = {
        source
        for dockerfile in DOCKERFILES.values()
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
        for source in line.split()
    }

    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied - {
        "examples/orders/requirements.txt"
    }
    for source in copied:
        assert (ROOT / source).exists(), source


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES)
def test_everything_from_an_index_is_checked_by_its_hash(dockerfile: str) -> None:
    installs = re.findall(r"pip (?:--python \S+ )?install (?:[^&\n]|\\\n)*", dockerfile)

    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install, install


def test_the_image_is_built_with_what_is_locked_for_development() -> None:
    def pinned(file: str) -> set[str]:
        return set(re.findall(r"^\S+==\S+", (ROOT / file).read_text(), re.MULTILINE))

    for file in ("requirements/build.txt", "requirements/server.txt", "examples/orders/requirements.txt"):
        assert pinned(file)
        assert pinned(file) <= pinned("requirements/dev.txt")


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES)
def test_the_images_python_is_one_that_the_service_supports(dockerfile: str) -> None:
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(
        ">="
    )
    versions = re.findall(r"^FROM python:([\d.]+)-slim", dockerfile, re.MULTILINE)

    assert len(versions) == 2
    assert len(set(versions)) == 1
    assert tuple(map(int, versions[0].split("."))) >= tuple(map(int, oldest.split(".")))
