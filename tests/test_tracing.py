"""Traces reach a collector when they are asked for, and hold no secret."""

import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api
from tests.support.deployment import Deployment
from tests.support.processes import eventually

TRACE = secrets.token_hex(16)


class Collector(ThreadingHTTPServer):
    """A collector of OTLP over HTTP that keeps what it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") is None:
            self.server.bodies.append(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


def test_a_request_is_a_span_of_its_callers_trace_with_its_statements_below_it(
    deployment: Deployment, actors: Actors
) -> None:
    person = actors.user()
    with collecting() as collector:
        own = deployment.having(otel_endpoint=collector.url, log_format="json", access_log="true")
        with own.serving(workers=1) as server, httpx2.Client(base_url=server.url, timeout=30) as http:
            http.headers["traceparent"] = f"00-{TRACE}-{secrets.token_hex(8)}-01"
            session = Api(http).sign_in(person.username, PASSWORD)
            http.get(f"/nowhere?token={session.access}")
        # It has ended in order, so what was left has been exported.
        eventually(lambda: len(collector.spans) > 3, within=20)
        log = server.log.read_text()

    ours = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    [token] = [span for span in ours if span.name == "POST /token"]
    told = {attribute.key: attribute.value for attribute in token.attributes}
    assert told["http.route"].string_value == "/token"
    assert told["http.response.status_code"].int_value == 200
    statements = [span for span in ours if span.parent_span_id == token.span_id]
    assert {"postgresql SELECT", "postgresql INSERT"} <= {span.name for span in statements}
    assert f'"trace_id":"{TRACE}"' in log
    everything = b"".join(collector.bodies)
    for secret in (PASSWORD, session.access, session.refresh, person.username, "nowhere"):
        assert secret.encode() not in everything


def test_without_the_extra_the_service_says_what_to_install(deployment: Deployment) -> None:
    own = deployment.having(otel_endpoint="http://127.0.0.1:4318")
    # As if it were not installed: the finder of this process does not find it.
    hidden = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'opentelemetry':\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "import importlib.util as u\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'opentelemetry' else found(name, *a)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "from service.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden, "serve"],
        env=own.env,
        cwd=own.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "pip install 'sealwright-server[otel]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_not_asked_for_is_not_even_imported() -> None:
    code = "import sys, service.app; print('service.spans' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "False"
