"""Spans of requests and of Postgres statements. Imports OpenTelemetry: only `tracing` may import this.

A span has the route's template, never the path as it was sent, no header and no query; a statement's text, in
which the parameters are places, never their values; and of an error its type alone.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.database import Connection, Row, Statement
from service.errors import ABOUT, METHODS

_CARRIED = frozenset({b"traceparent", b"tracestate"})  # W3C Trace Context 3


class Spans:
    """Makes spans and exports them in the background; a collector that is away costs spans, no request."""

    def __init__(self, endpoint: str) -> None:
        about = {SERVICE_NAME: "sealwright", SERVICE_VERSION: version("sealwright-server")}
        self._provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sealwright")

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return the app with a span about each request."""
        return _Requests(app, self._tracer)

    def connection(self, raw: Any) -> Connection:
        """Return a connection with a span about each statement."""
        return _Statements(raw, self._tracer)

    async def close(self) -> None:
        """Export what is left, for a moment at most."""
        await asyncio.to_thread(self._provider.shutdown)


class _Requests:
    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        carrier = {
            name.decode("ascii"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _CARRIED
        }
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        with _span(
            self._tracer,
            method,
            SpanKind.SERVER,
            {"http.request.method": method},
            context=self._propagator.extract(carrier),
        ) as span:
            scope[ABOUT]["trace_id"] = f"{span.get_span_context().trace_id:032x}"
            await self._app(scope, receive, partial(_noted, span, send))
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)


def _noted(span: Span, send: Send, message: Message) -> Awaitable[None]:
    if message["type"] == "http.response.start":
        span.set_attribute("http.response.status_code", message["status"])
        if message["status"] >= 500:
            span.set_status(StatusCode.ERROR)
    return send(message)


class _Statements(Connection):
    __slots__ = ("_tracer",)

    def __init__(self, raw: Any, tracer: Tracer) -> None:
        super().__init__(raw)
        self._tracer = tracer

    async def row(self, statement: Statement, **values: Any) -> Row | None:
        with self._about(statement):
            return await super().row(statement, **values)

    async def rows(self, statement: Statement, **values: Any) -> list[Row]:
        with self._about(statement):
            return await super().rows(statement, **values)

    async def value(self, statement: Statement, **values: Any) -> Any:
        with self._about(statement):
            return await super().value(statement, **values)

    def _about(self, statement: Statement) -> Any:
        verb = statement.sql.split(maxsplit=1)[0]
        attributes = {"db.system.name": "postgresql", "db.query.text": statement.sql}
        return _span(self._tracer, f"postgresql {verb}", SpanKind.CLIENT, attributes)


@contextmanager
def _span(
    tracer: Tracer, name: str, kind: SpanKind, attributes: dict[str, str], **more: Any
) -> Iterator[Span]:
    # An exception's text may hold anything, so it is not recorded by the library.
    with tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False, **more
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
