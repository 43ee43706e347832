"""Where log lines go and what they look like."""

from typing import Any

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def config(level: str = "INFO") -> dict[str, Any]:
    """Return the logging configuration of every process of the service: plain lines on stderr.

    There is no access log: a client that puts a token into a query string must not find it in a file.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": FORMAT}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {
            name: {"handlers": ["stderr"], "level": level, "propagate": False}
            for name in ("sealwright", "uvicorn.error")
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }
