"""Without an event loop."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sealwright import BlockingVerifier, ConfigurationError, InvalidToken, Options, Unavailable
from sealwright.testing import Issuer


def test_any_thread_may_ask_and_hears_of_revocations_and_new_keys(served: Any) -> None:
    issuer: Issuer = served.issuer
    settings = served.settings(options=Options(key_pause=0.05))
    with BlockingVerifier(**settings) as verifier, ThreadPoolExecutor(8) as pool:
        tokens = [issuer.token(sub=f"user-{n}") for n in range(200)]
        assert [claims.sub for claims in pool.map(verifier.verify, tokens)] == [
            f"user-{n}" for n in range(200)
        ]

        issuer.rotate()
        token = issuer.token(jti="one")
        assert {claims.jti for claims in pool.map(verifier.verify, [token] * 20)} == {"one"}

        issuer.revoke(token)
        deadline = time.monotonic() + 10
        while not refused(verifier, token):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert verifier.health().ok
        assert "sealwright_revocations 1" in verifier.metrics()


def test_an_outage_is_unavailable_here_too(issuer: Issuer) -> None:
    with BlockingVerifier(verifier=issuer.verifier()) as verifier:
        token = issuer.token(lifetime=3600)
        assert verifier.verify(token).sub == "usr_1"
        with issuer.down():
            issuer.move_clock(31)
            with pytest.raises(Unavailable):
                verifier.verify(token)
        assert verifier.verify(token).sub == "usr_1"


def test_a_wrong_setting_fails_the_start_and_leaves_no_thread(served: Any) -> None:
    verifier = BlockingVerifier(**served.settings(client_secret="wrong"))
    with pytest.raises(ConfigurationError):
        verifier.start()
    assert verifier._thread is None


def test_it_has_to_be_started(issuer: Issuer) -> None:
    with pytest.raises(RuntimeError, match="start"):
        BlockingVerifier(verifier=issuer.verifier()).verify(issuer.token())


def test_settings_beside_a_verifier_are_an_error_and_not_ignored(issuer: Issuer) -> None:
    with pytest.raises(TypeError, match="both"):
        BlockingVerifier(verifier=issuer.verifier(), stale="refuse")


def test_who_waits_for_a_key_while_it_is_closed_is_told_that_it_cannot_be_told(served: Any) -> None:
    verifier = BlockingVerifier(**served.settings(options=Options(key_pause=20)))
    verifier.start()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(verifier.verify, served.issuer.token(header={"kid": "made-up"}))
        deadline = time.monotonic() + 10
        while verifier._verifier._keys._waiting == 0:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        verifier.close()
        assert isinstance(asking.exception(timeout=10), Unavailable)


def refused(verifier: BlockingVerifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except InvalidToken:
        return True
    return False
