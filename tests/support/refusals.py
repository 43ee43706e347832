"""What a refusal looks like, by each endpoint's own standard, and that nothing leaks beside it."""

from pathlib import Path

import httpx2


def assert_oauth_error(answer: httpx2.Response, error: str = "invalid_request", status: int = 400) -> None:
    """RFC 6749 5.2."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    body = answer.json()
    assert set(body) == {"error", "error_description"}
    assert body["error"] == error, body
    assert body["error_description"]
    assert answer.headers["content-type"] == "application/json"
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert_not_stored(answer)


def assert_invalid_client(answer: httpx2.Response) -> None:
    """RFC 6749 5.2: 401 with a challenge."""
    assert_oauth_error(answer, "invalid_client", 401)
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


def assert_bearer_error(
    answer: httpx2.Response, error: str = "invalid_token", status: int = 401, *, told: bool = True
) -> None:
    """RFC 6750 3; `told`: the request carried a token, so that the challenge says what is wrong with it."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.json()["error"] == error
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer realm=")
    assert (f'error="{error}"' in challenge) == told
    assert_not_stored(answer)


def assert_problem(answer: httpx2.Response, status: int) -> None:
    """RFC 9457."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    body = answer.json()
    assert set(body) - {"request_id"} == {"type", "title", "status", "detail"}
    assert body.get("request_id") == answer.headers.get("x-request-id")
    assert body["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert_not_stored(answer)


def assert_not_stored(answer: httpx2.Response) -> None:
    assert answer.headers["cache-control"] == "no-store"


def assert_no_echo(answer: httpx2.Response, *secrets: str) -> None:
    """Nothing of a secret is in the answer, its headers included."""
    said = answer.text + repr(answer.headers.raw)
    for secret in secrets:
        assert secret not in said
    assert "Traceback" not in said


class LogTail:
    """What the service logs from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin = path.stat().st_size

    @property
    def text(self) -> str:
        with self._path.open("rb") as log:
            log.seek(self._begin)
            return log.read().decode()

    def assert_clean(self, *secrets: str) -> None:
        """No stack trace and none of these secrets has been logged."""
        text = self.text
        assert "Traceback" not in text, text
        for secret in secrets:
            assert secret not in text, text
