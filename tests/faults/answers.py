"""Whether an answer has the shape that its standard gives it: a pure look at what came."""

import json
from collections.abc import Mapping

from service.errors import OAUTH_PATHS

_PROBLEM = "application/problem+json"
_MORE = {401: "www-authenticate", 503: "retry-after"}


def flaw(path: str, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """Say what is wrong with an answer; None: nothing.

    An error is a 4xx or a 503, in the shape of RFC 6749 5.2, RFC 6750 3 or RFC 9457, and is never stored; a 503 says
    when to come again, a 401 how.
    """
    if 200 <= status < 300:
        return None
    return _head_flaw(status, headers) or _body_flaw(path, status, headers.get("content-type", ""), body)


def _head_flaw(status: int, headers: Mapping[str, str]) -> str | None:
    if not 400 <= status < 500 and status != 503:
        return f"status {status}"
    wanted = _MORE.get(status)
    if wanted and not headers.get(wanted):
        return f"a {status} without {wanted}"
    return None if "no-store" in headers.get("cache-control", "") else "an error that may be stored"


def _body_flaw(path: str, status: int, content_type: str, body: bytes) -> str | None:
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        return "a body that is no JSON object"
    # What could not even be read, the server itself refuses, whatever the path: by a problem.
    wanted = {"application/json"} if path in OAUTH_PATHS and status == 503 else {"application/json", _PROBLEM}
    if content_type not in wanted:
        return f"Content-Type: {content_type}"
    if content_type == _PROBLEM:
        whole = said.get("status") == status and said.get("title") and said.get("detail")
        return None if whole else "a problem without its members"
    if not isinstance(said.get("error"), str) or not said.get("error_description"):
        return "an error without error and error_description"
    return None
