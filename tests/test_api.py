"""The service keeps to its own OpenAPI page, whatever schemathesis makes of that page. Longer: make test-api."""

import json
import subprocess
import sys
from collections.abc import Iterator
from os import environ  # noqa: TID251  # a run that is to be repeated
from pathlib import Path

import httpx2
import pytest

from tests.support.deployment import METRICS_TOKEN, Deployment, Server, drop_database, new_database

API = Path(__file__).parent / "api"

STEPS = {
    "each operation": ("--phases", "examples,coverage,fuzzing"),
    # Two, for in one schemathesis would begin with what looks easier to reach alone.
    "from a token": ("--phases", "stateful", "--exclude-path-regex", "^/sessions"),
    "from a session": ("--phases", "stateful", "--include-path-regex", "^/sessions"),
}


@pytest.fixture(scope="module")
def everything(server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with every endpoint that can be had, and a database of its own: hundreds of users come and go."""
    url = new_database(server_urls[0])
    made = Deployment(url, server_urls[1], tmp_path_factory.mktemp("api"), "http://localhost:8000")
    made.prepare()
    open_to_all = made.having(
        registration="open", registration_roles="editor", self_deletion="on", metrics_token=METRICS_TOKEN
    )
    with open_to_all.serving(workers=1) as server:
        yield server
    drop_database(server_urls[0], url)


def schemathesis(page: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(API / "schemathesis.toml")),
            *("run", page, "--no-color", "--continue-on-failure", *arguments),
        ],
        env={**environ, "SCHEMATHESIS_HOOKS": str(API / "hooks.py")},
        cwd=directory,  # where it leaves what it keeps
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_what_the_page_says_is_so(everything: Server, tmp_path: Path, step: tuple[str, ...]) -> None:
    page = f"{everything.url}/openapi.json"

    done = schemathesis(page, tmp_path, *step, "--seed", "1", "--max-examples", "20")

    assert done.returncode == 0, done.stdout


def test_a_page_that_is_not_kept_to_is_found(everything: Server, tmp_path: Path) -> None:
    page = httpx2.get(f"{everything.url}/openapi.json").json()
    answers = page["paths"]["/me"]["get"]["responses"]
    answers["200"]["content"]["application/json"]["schema"]["properties"]["sub"] = {"type": "integer"}
    answers["200"]["headers"]["X-Promised"] = {"required": True, "schema": {"type": "string"}}
    del answers["401"]
    del page["paths"]["/me"]["delete"]
    page["paths"]["/logout"]["post"]["security"] = []
    (tmp_path / "page.json").write_text(json.dumps(page))
    only = ("--include-path-regex", "^/(me|logout)$", "--phases", "coverage", "--url", everything.url)

    done = schemathesis("page.json", tmp_path, *only)

    assert done.returncode == 1, done.stdout
    for found in ("X-Promised", '"integer"', "Undocumented status code", "Allow header mismatch"):
        assert found in done.stdout, done.stdout


@pytest.mark.minute
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_what_the_page_says_is_so_for_long(everything: Server, tmp_path: Path, step: tuple[str, ...]) -> None:
    seed = environ.get("SEED")
    repeated = ("--seed", seed) if seed else ()

    done = schemathesis(f"{everything.url}/openapi.json", tmp_path, *step, "--max-examples", "500", *repeated)

    sys.stdout.write(done.stdout)  # its last lines tell the seed
    assert done.returncode == 0
