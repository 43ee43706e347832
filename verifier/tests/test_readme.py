"""README.md says what is true: its programs run, its table is the code's."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from sealwright import BlockingVerifier, Options, Verifier
from sealwright.asgi import BearerMiddleware
from sealwright.testing import Issuer

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PROGRAMS = {found[1]: block for block in BLOCKS if (found := re.match(r"# (\w+\.py)\n", block)) is not None}
PLAIN = [block for block in BLOCKS if block not in PROGRAMS.values()]

Load = Callable[..., SimpleNamespace]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Run one of README's programs, and give what it defines."""

    def run(name: str, **modules: Any) -> SimpleNamespace:
        for module, names in modules.items():
            monkeypatch.setitem(sys.modules, module, SimpleNamespace(**names))
        namespace: dict[str, Any] = {"__name__": name}
        exec(compile(PROGRAMS[name], name, "exec", dont_inherit=True), namespace)
        return SimpleNamespace(**namespace)

    return run


def test_every_program_is_tried_here() -> None:
    tried = set(re.findall(r"\"(\w+\.py)\"", Path(__file__).read_text(encoding="utf-8")))
    assert tried == set(PROGRAMS)
    assert len(PLAIN) == 1


def test_the_five_minutes_and_their_tests(tmp_path: Path) -> None:
    for name in ("orders.py", "main.py", "test_orders.py"):
        (tmp_path / name).write_text(PROGRAMS[name])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    started = subprocess.run(
        [sys.executable, "-c", "import main; print(sorted(main.app.openapi()['paths']))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert started.stdout.strip() == "['/orders', '/orders/{number}', '/whoami']"


def test_containers_are_reached_by_another_address(load: Load) -> None:
    verifier: Verifier = load("containers.py").verifier
    assert verifier.location.base == "http://sealwright:8000"


def test_the_middleware_is_made(load: Load) -> None:
    assert isinstance(load("middleware.py", orders_asgi={"app": object()}).app, BearerMiddleware)


def test_the_blocking_verifier_answers(load: Load, issuer: Issuer) -> None:
    status = load("blocking.py").status
    with BlockingVerifier(verifier=issuer.verifier()) as verifier:
        token = issuer.token(lifetime=3600)
        assert status(verifier, token) == 200
        assert status(verifier, "no token") == 401
        with issuer.down():
            issuer.move_clock(31)
            assert status(verifier, token) == 503


@pytest.mark.anyio
async def test_a_program_calls_with_a_token(load: Load, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer: Issuer = served.issuer
    issuer.client_id, issuer.client_secret = "demo-service", "demo-service-secret"
    seen: list[str] = []

    def api(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["Authorization"])
        return httpx2.Response(200)

    calling = load("calling.py")
    client = httpx2.AsyncClient
    monkeypatch.setattr(
        calling.httpx2, "AsyncClient", lambda **more: client(transport=transport_for(more, api), **more)
    )
    assert await calling.orders(issuer.url, "http://orders") == 200
    assert seen[0].startswith("Bearer ey")


def transport_for(settings: dict[str, Any], api: Any) -> Any:
    """The API's for its client; the network for the token source's own."""
    return httpx2.MockTransport(api) if "auth" in settings else settings.pop("transport", None)


def test_the_rule_alone() -> None:
    exec(compile(PLAIN[0], "README.md", "exec", dont_inherit=True), {})


def test_the_table_of_options_is_the_codes() -> None:
    table = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", README, re.MULTILINE)
    assert table == [(field.name, str(field.default)) for field in dataclasses.fields(Options)]
