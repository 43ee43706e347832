"""Traces by OpenTelemetry, if the extra `otel` is installed and an endpoint is set; else nothing, at no cost."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from service.settings import PREFIX, Settings, SettingsError

if TYPE_CHECKING:
    from service.spans import Spans


def require(settings: Settings) -> None:
    """Refuse settings that ask for traces where they cannot be made.

    Raises:
        SettingsError: with what to install.
    """
    if settings.otel_endpoint is not None and find_spec("opentelemetry") is None:
        raise SettingsError(
            f"{PREFIX}OTEL_ENDPOINT is set, but OpenTelemetry is not installed. "
            "Run: pip install 'sealwright-server[otel]'"
        )


def begin(settings: Settings) -> "Spans | None":
    """Begin to export spans, if that is asked for. Raises as `require`."""
    if settings.otel_endpoint is None:
        return None
    require(settings)
    from service.spans import Spans  # noqa: PLC0415  # imports OpenTelemetry

    return Spans(settings.otel_endpoint)
