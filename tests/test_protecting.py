"""docs/protect-your-service.md: its programs run, and each keeps out what has to stay out."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
import yaml

from service.cli import demo
from service.embedded import ports
from tests.support.actors import PASSWORD, VISITOR, Actors, add_test_roles
from tests.support.client import Api, bearer
from tests.support.deployment import Deployment, Server, drop_database, new_database
from tests.support.forging import ACCESS, Forge
from tests.support.pages import ROOT, blocks
from tests.support.processes import eventually

PAGE = ROOT / "docs" / "protect-your-service.md"
PATIENCE = 60.0

HARMLESS = {
    *("jku", "x5u", "x5c", "jwk", "b64"),
    *("an endless end", "issued tomorrow", "an empty jti", "a jti with a NUL", "an epoch that is text"),
}
"""What `jose` takes and the library does not. Only the issuer's own key can write these, and it never does."""


@pytest.fixture(scope="module")
def own(
    server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Deployment, Server]]:
    """An issuer that is where its name says, as on the page."""
    port = ports.choose()
    url = new_database(server_urls[0])
    made = Deployment(url, server_urls[1], tmp_path_factory.mktemp("own"), f"http://localhost:{port}")
    made.prepare()
    add_test_roles(made)
    with made.serving(workers=1, port=port) as server:
        yield made, server
    drop_database(server_urls[0], url)


@pytest.fixture
def write(own: tuple[Deployment, Server], tmp_path: Path) -> Callable[..., Path]:
    """Save files of the page in a folder, with the issuer of the test and other ports."""

    def written(*names: str, ports: dict[int, int] | None = None) -> Path:
        for block in blocks(PAGE):
            if block.file in names:
                text = block.text.replace("http://localhost:8000", own[0].issuer)
                for port, free in (ports or {}).items():
                    text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
                (tmp_path / block.file).write_text(text)
        assert {file.name for file in tmp_path.iterdir()} >= set(names)
        return tmp_path

    return written


@contextmanager
def program(folder: Path, *command: str | Path, url: str, **variables: str) -> Iterator[str]:
    """Run a server until the end of the block; it answers when the block begins."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command],
            cwd=folder,
            env={**os.environ, **variables},  # noqa: TID251  # a child's
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return bool(httpx2.get(url, timeout=5).status_code)
        except httpx2.TransportError:
            return False

    try:
        eventually(answers, within=PATIENCE)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()


@pytest.fixture
def keeps_out(own: tuple[Deployment, Server]) -> Iterator[Callable[..., None]]:
    """Whether a service lets those in who may, and nobody else."""
    made, server = own
    actors = Actors(made)
    with httpx2.Client(base_url=server.url, timeout=20) as issuer, httpx2.Client(timeout=20) as http:
        api = Api(issuer)

        def check(url: str, harmless: Collection[str] = ()) -> None:
            def seen(token: str) -> httpx2.Response:
                return http.get(f"{url}/orders", headers=[(b"Authorization", f"Bearer {token}".encode())])

            user = actors.user()
            good, revoked, signed_out = (api.sign_in(user.username, PASSWORD) for _ in range(3))

            # The first token may come before the revocations.
            eventually(lambda: seen(good.access).status_code != 503, within=PATIENCE)
            assert (seen(good.access).status_code, seen(good.access).json()) == (200, {"for": str(user.id)})
            assert seen(revoked.access).status_code == seen(signed_out.access).status_code == 200
            nobody = http.get(f"{url}/orders")
            assert nobody.status_code == 401
            assert nobody.headers["www-authenticate"].startswith("Bearer")
            forge = Forge(made)
            forge.session = good
            taken = {case for case, forged in ACCESS.items() if seen(forged(forge)).status_code == 200}
            assert taken <= set(harmless)
            assert seen(api.sign_in(user.username, PASSWORD, resource=made.issuer).access).status_code == 401
            visitor = api.sign_in(actors.user(VISITOR).username, PASSWORD)
            assert seen(visitor.access).status_code == 403

            api.revoke(revoked.access)
            api.revoke(signed_out.refresh)
            eventually(lambda: seen(revoked.access).status_code == 401, within=PATIENCE)
            eventually(lambda: seen(signed_out.access).status_code == 401, within=PATIENCE)
            assert seen(good.access).status_code == 200
            actors.disable_user(user)
            eventually(lambda: seen(good.access).status_code == 401, within=PATIENCE)

        yield check


def test_flask(write: Callable[..., Path], keeps_out: Callable[..., None]) -> None:
    port = ports.choose()
    flask = (sys.executable, "-m", "flask", "run", "--port", str(port))
    with program(write("app.py"), *flask, url=f"http://127.0.0.1:{port}") as url:
        keeps_out(url)


def jose() -> str | None:
    """Where Node's modules are, if `jose` is among them."""
    if shutil.which("node") is None:
        return None
    looked = os.environ.get("NODE_PATH", "").split(os.pathsep)  # noqa: TID251  # where CI may have put it
    return next((folder for folder in looked if folder and (Path(folder) / "jose").is_dir()), None)


@pytest.mark.skipif(jose() is None, reason="needs node, and the folder of the package jose in NODE_PATH")
def test_node(write: Callable[..., Path], keeps_out: Callable[..., None]) -> None:
    folder = write("sealwright.mjs", "server.mjs")
    # An ES module is looked for beside its importer; NODE_PATH is for the others.
    (folder / "node_modules").symlink_to(jose() or "")
    port = ports.choose()
    with program(folder, "node", "server.mjs", url=f"http://127.0.0.1:{port}", PORT=str(port)) as url:
        keeps_out(url, HARMLESS)


class Behind(BaseHTTPRequestHandler):
    """A service that believes what nginx tells it."""

    def do_GET(self) -> None:
        said = f'{{"for": "{self.headers["X-Sub"]}"}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def behind() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Behind) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_nginx(
    write: Callable[..., Path], keeps_out: Callable[..., None], own: tuple[Deployment, Server]
) -> None:
    nginx_port, verifying_port = ports.choose(), ports.choose()
    with ExitStack() as stack:
        own_ports = {8080: nginx_port, 9000: verifying_port, 8001: stack.enter_context(behind())}
        folder = write("verifying.py", "nginx.conf", ports=own_ports)
        uvicorn = (sys.executable, "-m", "uvicorn", "verifying:app", "--port", str(verifying_port))
        checker = stack.enter_context(ExitStack())
        checker.enter_context(program(folder, *uvicorn, url=f"http://127.0.0.1:{verifying_port}"))
        command = ("nginx", "-p", folder, "-c", "nginx.conf", "-e", "error.log")
        own_paths = f"daemon off; pid {folder}/pid;"
        url = stack.enter_context(
            program(folder, *command, "-g", own_paths, url=f"http://127.0.0.1:{nginx_port}")
        )

        keeps_out(url)
        with httpx2.Client(base_url=own[1].url, timeout=20) as http:
            token = Api(http).sign_in()
        lied = httpx2.get(url, headers={**bearer(token.access), "X-Sub": "root"})
        assert lied.json() == {"for": token.claims["sub"]}
        checker.close()
        unknown = httpx2.get(url, headers=bearer(token.access))
        assert (unknown.status_code, unknown.headers["retry-after"]) == (503, "1")


def test_envoy_is_told_the_issuer_the_audience_and_where_revocations_are_known() -> None:
    [text] = [block.text for block in blocks(PAGE) if block.file == "envoy.yaml"]
    first, second = (one["typed_config"] for one in yaml.safe_load(text)["http_filters"])
    [(name, provider)] = first["providers"].items()

    assert provider["issuer"] == "http://localhost:8000"
    assert provider["audiences"] == [demo.RESOURCE]
    assert provider["remote_jwks"]["http_uri"]["uri"] == f"{provider['issuer']}/.well-known/jwks.json"
    rules: list[dict[str, Any]] = first["rules"]
    assert [rule["requires"]["provider_name"] for rule in rules] == [name]
    assert second["failure_mode_allow"] is False
    assert second["http_service"]["server_uri"]["uri"] == "http://localhost:9000"
