"""The headers that every answer carries, whoever made it: the server adds them, as bytes made once."""

from service.settings import Settings

_NO_DOCUMENT = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# /docs exists in development alone: it loads its script and its style from elsewhere, and asks this service.
_DOCS = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; "
    "script-src 'unsafe-inline' https:; style-src 'unsafe-inline' https:; img-src data: https:"
)

ONE_YEAR = 31_536_000  # seconds


def security_headers(settings: Settings) -> list[tuple[str, str]]:
    """Return what keeps a browser from making more of an answer than data."""
    headers = [
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Content-Security-Policy", _DOCS if settings.development else _NO_DOCUMENT),
    ]
    if settings.issuer.startswith("https://"):
        # RFC 6797 7.1. The subdomains of the issuer's name are not ours to speak for.
        headers.append(("Strict-Transport-Security", f"max-age={ONE_YEAR}"))
    return headers
