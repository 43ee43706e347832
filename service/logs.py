"""What log lines look like: one structured line an event, ours and the libraries' alike, without secrets.

Everything logs through the standard library; structlog renders. A request's id and what becomes known of it
(its client, its session) stand in each line that is written on its behalf.
"""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from service import redaction

Rendering = Literal["json", "text"]

_about: ContextVar[MutableMapping[str, object] | None] = ContextVar("about", default=None)

_FIRST = ("timestamp", "level", "event", "logger", "request_id")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def begin(about: MutableMapping[str, object]) -> None:
    """Let `about` stand in each line that this task, and what it starts, writes from now on."""
    _about.set(about)


def bind(**known: object) -> None:
    """Add to what stands in each line of this request. Never a secret. Does nothing outside of a request."""
    about = _about.get()
    if about is not None:
        about.update(known)


def request_id() -> str | None:
    """Return the id of the request that is being answered; None outside of one."""
    found = (_about.get() or {}).get("request_id")
    return None if found is None else str(found)


def config(*, level: str = "info", rendering: Rendering = "json") -> dict[str, Any]:
    """Return the logging configuration of every process of the service: lines on stderr.

    `level` is ours and the server's; of the libraries only warnings are shown.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": {"()": "service.logs.formatter", "rendering": rendering}},
        "handlers": {"stderr": {"class": "service.logs.Stderr", "formatter": "structured"}},
        "loggers": {
            name: {"handlers": ["stderr"], "level": level.upper(), "propagate": False}
            for name in ("sealwright", "uvicorn.error")
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }


class Stderr(logging.StreamHandler[TextIO]):
    """Writes to stderr. What cannot be rendered is told of without it: `logging` would print it as it is."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's
        """Say that a line is missing, and where it came from."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f'{{"level":"error","event":"a line of {record.module} could not be logged"}}\n')


def formatter(rendering: Rendering) -> logging.Formatter:
    """Return what makes a line of a record; `config` names it."""
    render: list[Processor] = [_json]
    if rendering == "text":
        colours = sys.stderr.isatty()
        render = [
            _harmless,
            structlog.dev.ConsoleRenderer(
                colors=colours, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            _describe,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # The stack and the messages, never the values of variables.
            structlog.processors.format_exc_info,
            _redact,
            *render,
        ],
    )


def timestamp(seconds: float) -> str:
    """Return a moment, in seconds since 1970, as logs show it: RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _describe(_: object, __: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event.pop("color_message", None)  # uvicorn's copy of its message
    return {
        "timestamp": timestamp(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        **(_about.get() or {}),
        **event,
    }


def _redact(_: object, __: str, event: EventDict) -> EventDict:
    return {name: redaction.member(name, value) for name, value in event.items()}


def _json(_: object, __: str, event: EventDict) -> str:
    return json.dumps(_ordered(event), separators=(",", ":"))


def _ordered(event: Mapping[str, object]) -> dict[str, object]:
    return {name: event[name] for name in _FIRST if name in event} | dict(event)


def _harmless(_: object, __: str, event: EventDict) -> EventDict:
    # A line break in what somebody sent would begin a line of its own, an escape sequence paint the terminal.
    return {name: _escaped(name, value) for name, value in event.items()}


def _escaped(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    if name == "exception":
        return "\n".join("    " + _control(line) for line in value.split("\n"))
    return _control(value)


def _control(value: str) -> str:
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), value)
