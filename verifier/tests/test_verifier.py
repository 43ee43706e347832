"""A Verifier and an issuer over real sockets."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import httpx2
import pytest

from sealwright import ConfigurationError, FeedStale, InvalidToken, Options, Unavailable, UnknownKey, Verifier
from sealwright.testing import Issuer

pytestmark = pytest.mark.anyio

FEED = "/revocations"
JWKS = "/.well-known/jwks.json"


async def reason(verifier: Verifier, token: str) -> str:
    """Why a token is refused; "good" if it is not."""
    try:
        await verifier.authenticate(token)
    except InvalidToken as refused:
        return refused.reason
    return "good"


async def test_a_verified_request_makes_no_network_call(served: Any) -> None:
    issuer: Issuer = served.issuer
    async with Verifier(**served.settings()) as verifier:
        await asyncio.sleep(0)
        before = Counter(issuer.requests)
        for _ in range(200):
            await verifier.authenticate(issuer.token())
            verifier.verify(issuer.token())
        made = issuer.requests - before
    assert set(made) <= {FEED}  # which goes on by itself
    assert made[FEED] <= 1


async def test_a_revoked_token_is_refused_within_a_second(served: Any) -> None:
    issuer: Issuer = served.issuer
    async with Verifier(**served.settings()) as verifier:
        token, other = issuer.token(jti="one"), issuer.token(jti="two")
        assert await reason(verifier, token) == "good"
        began = time.monotonic()
        issuer.revoke(token)
        while await reason(verifier, token) != "revoked":
            assert time.monotonic() < began + 10
            await asyncio.sleep(0.005)
        took = time.monotonic() - began
        assert await reason(verifier, other) == "good"
    assert took < 1


async def test_what_was_revoked_before_the_start_is_refused_from_the_start(served: Any) -> None:
    issuer: Issuer = served.issuer
    token = issuer.token(sub="mallory", uep=2)
    issuer.revoke(sub="mallory", epoch=3)
    async with Verifier(**served.settings()) as verifier:
        assert await reason(verifier, token) == "revoked"
        assert await reason(verifier, issuer.token(sub="mallory", uep=3)) == "good"


async def test_a_compromised_key_is_dropped_and_no_jwks_brings_it_back(served: Any, until: Any) -> None:
    issuer: Issuer = served.issuer
    async with Verifier(**served.settings(options=Options(key_pause=0.01))) as verifier:
        token = issuer.token()
        assert await reason(verifier, token) == "good"
        issuer.revoke(kid=issuer.kid)
        await until(lambda: verifier.health().keys == 0, "the key is dropped")
        assert await reason(verifier, token) == "revoked"
        issuer.rotate(keep=1)
        assert await reason(verifier, issuer.token()) == "good"
        assert verifier.health().keys == 1
        assert await reason(verifier, token) == "revoked"


async def test_a_stream_of_made_up_kids_is_not_a_stream_of_fetches(served: Any) -> None:
    issuer: Issuer = served.issuer
    async with Verifier(**served.settings(options=Options(key_pause=0.2))) as verifier:
        before, began = issuer.requests[JWKS], time.monotonic()
        forged = [issuer.token(header={"kid": f"made-up-{n}"}) for n in range(300)]
        reasons = await asyncio.gather(*(reason(verifier, token) for token in forged))
        seconds = time.monotonic() - began
        assert set(reasons) == {"unknown_key"}
        assert issuer.requests[JWKS] - before <= 2 + seconds / 0.2
        before = issuer.requests[JWKS]
        for token in forged:
            assert await reason(verifier, token) == "unknown_key"
        assert issuer.requests[JWKS] == before


async def test_a_new_key_is_found_when_a_token_names_it(served: Any) -> None:
    issuer: Issuer = served.issuer
    async with Verifier(**served.settings(options=Options(key_pause=0.1))) as verifier:
        issuer.rotate()
        token = issuer.token()
        with pytest.raises(UnknownKey):
            verifier.verify(token)
        before = issuer.requests[JWKS]
        assert set(await asyncio.gather(*(reason(verifier, token) for _ in range(50)))) == {"good"}
        assert issuer.requests[JWKS] - before == 1


async def test_by_default_a_feed_that_is_too_old_has_the_issuer_asked(served: Any, until: Any) -> None:
    issuer: Issuer = served.issuer
    async with Verifier(**served.settings(options=Options(max_feed_age=0.5))) as verifier:
        good, revoked = issuer.token(jti="good"), issuer.token(jti="revoked")
        assert await reason(verifier, revoked) == "good"
        served.answers[FEED] = 500, b"{}"
        issuer.revoke(revoked)
        await until(lambda: verifier.health().doing == "introspect", "the feed is too old")

        with pytest.raises(FeedStale):
            verifier.verify(good)
        before = issuer.requests["/introspect"]
        assert [await reason(verifier, good) for _ in range(20)] == ["good"] * 20
        assert await reason(verifier, revoked) == "revoked"
        assert issuer.requests["/introspect"] - before <= 3  # an answer is remembered, for a second at most


async def test_an_outage_ends_in_503_by_default_and_heals_by_itself(served: Any, until: Any) -> None:
    issuer: Issuer = served.issuer
    async with Verifier(**served.settings(options=Options(max_feed_age=1.5))) as verifier:
        token = issuer.token()
        served.stop()
        assert await reason(verifier, token) == "good"  # the feed is young enough
        await until(lambda: verifier.health().doing == "introspect", "the feed is too old")
        with pytest.raises(Unavailable) as unavailable:
            await verifier.authenticate(token)
        assert unavailable.value.retry_after >= 1
        assert verifier.health().feed_problem
        served.start()
        await until(lambda: verifier.health().ok, "the feed is followed again")
        assert await reason(verifier, token) == "good"


async def test_with_accept_known_keys_verify_throughout_an_outage_and_known_revocations_hold(
    served: Any, until: Any
) -> None:
    issuer: Issuer = served.issuer
    options = Options(max_feed_age=0.5)
    async with Verifier(**served.settings(stale="accept", options=options)) as verifier:
        token, revoked = issuer.token(jti="good"), issuer.token(jti="revoked")
        issuer.revoke(revoked)
        await until(lambda: verifier.health().revocations == 1, "the revocation is heard")
        served.stop()
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            assert await reason(verifier, token) == "good"
            assert await reason(verifier, revoked) == "revoked"
            await asyncio.sleep(0.01)
        assert verifier.health().doing == "accept"
        assert 'sealwright_doing{mode="accept"} 1' in verifier.metrics()


async def test_with_refuse_nobody_is_asked(served: Any, until: Any) -> None:
    issuer: Issuer = served.issuer
    async with Verifier(**served.settings(stale="refuse", options=Options(max_feed_age=0.5))) as verifier:
        served.answers[FEED] = 500, b"{}"
        await until(lambda: verifier.health().doing == "refuse", "the feed is too old")
        with pytest.raises(Unavailable):
            await verifier.authenticate(issuer.token())
        assert issuer.requests["/introspect"] == 0


async def test_news_that_the_issuer_itself_has_not_seen_for_long_are_old(served: Any) -> None:
    issuer: Issuer = served.issuer
    issuer.behind = 31
    async with Verifier(**served.settings()) as verifier:
        assert verifier.health().doing == "introspect"
        age = verifier.health().feed_age
        assert age is not None
        assert 31 <= age < 60


async def test_a_service_starts_while_its_issuer_is_down_and_heals(served: Any, until: Any) -> None:
    issuer: Issuer = served.issuer
    token = issuer.token()
    served.stop()
    async with Verifier(**served.settings(options=Options(timeout=0.5))) as verifier:
        with pytest.raises(Unavailable):
            await verifier.authenticate(token)
        assert not verifier.health().ok
        served.start()
        await until(lambda: verifier.health().ok, "keys and feed are there")
        assert await reason(verifier, token) == "good"


async def test_an_unknown_key_in_an_outage_is_503_and_not_401(served: Any) -> None:
    issuer: Issuer = served.issuer
    async with Verifier(**served.settings(options=Options(key_pause=0.01))) as verifier:
        issuer.rotate()
        token = issuer.token()
        served.stop()
        with pytest.raises(Unavailable):
            await verifier.authenticate(token)


async def test_an_issuer_by_another_name_is_an_error_that_says_what_to_set(served: Any) -> None:
    issuer: Issuer = served.issuer
    here = issuer.url
    issuer.url = "http://localhost:8000"
    with pytest.raises(ConfigurationError) as error:
        await Verifier(**served.settings(issuer=here)).start()
    assert f"set issuer='http://localhost:8000' and internal_url='{here}'" in str(error.value)

    async with Verifier(**served.settings(internal_url=here)) as verifier:
        assert await reason(verifier, issuer.token()) == "good"


async def test_credentials_that_the_issuer_refuses_stop_the_start(served: Any) -> None:
    with pytest.raises(ConfigurationError, match="client_secret"):
        await Verifier(**served.settings(client_secret="wrong")).start()


def test_doing_without_revocations_has_to_be_said_aloud() -> None:
    with pytest.raises(ConfigurationError, match="revocations=False"):
        Verifier("https://auth.example.com", "https://orders.example.com")


async def test_an_unusable_answer_of_the_feed_changes_nothing(served: Any, until: Any) -> None:
    issuer: Issuer = served.issuer
    token = issuer.token()
    issuer.revoke(token)
    async with Verifier(**served.settings()) as verifier:
        feed = verifier._feed
        assert feed is not None
        hole = issuer._feed("") | {"revocations": [{"what": 1}]}
        served.answers[FEED] = 200, json.dumps(hole).encode()
        issuer.revoke(jti="other")
        await until(lambda: feed.failures > 1, "two polls failed")
        assert await reason(verifier, token) == "revoked"
        assert "update sealwright" in str(verifier.health().feed_problem)
        del served.answers[FEED]
        await until(lambda: feed.problem is None, "the feed is followed again")


async def test_a_remembered_signature_passes_by_no_check(issuer: Issuer) -> None:
    async with issuer.verifier() as verifier:
        token, revoked = issuer.token(), issuer.token(jti="revoked", sid="other")
        for _ in range(3):
            verifier.verify(token)
            verifier.verify(revoked)
        issuer.revoke(revoked)
        assert await reason(verifier, revoked) == "revoked"
        issuer.rotate(keep=0)
        await verifier._keys.refresh()
        with pytest.raises(UnknownKey):
            verifier.verify(token)
        token = issuer.token()
        assert await reason(verifier, token) == "good"
        issuer.move_clock(906)
        assert await reason(verifier, token) == "expired"


async def test_forgeries_push_nothing_out_of_the_remembered_signatures(issuer: Issuer) -> None:
    async with issuer.verifier(options=Options(signatures=10)) as verifier:
        token = issuer.token()
        verifier.verify(token)
        for n in range(50):
            forged = token[:-8] + f"{n:04}AAAA"
            assert await reason(verifier, forged) in {"signature", "malformed"}
        assert len(verifier._signatures) == 1
        for _ in range(50):
            verifier.verify(issuer.token())
        assert len(verifier._signatures) <= 10


async def test_a_closed_verifier_leaves_nothing_behind_and_can_be_started_again(served: Any) -> None:
    issuer: Issuer = served.issuer
    before = asyncio.all_tasks()
    verifier = Verifier(**served.settings(client_secret="wrong"))
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            await verifier.start()
    verifier = Verifier(**served.settings())
    for _ in range(2):
        async with verifier:
            assert await reason(verifier, issuer.token()) == "good"
            looking = asyncio.create_task(reason(verifier, issuer.token(header={"kid": "made-up"})))
            await asyncio.sleep(0)
        looking.cancel()
        await asyncio.wait([looking])
        assert asyncio.all_tasks() == before
        with pytest.raises(RuntimeError, match="start"):
            await verifier.authenticate(issuer.token())


async def test_whatever_the_issuer_answers_following_goes_on(served: Any, until: Any) -> None:
    async with Verifier(**served.settings()) as verifier:
        feed = verifier._feed
        assert feed is not None
        for answer in ((200, b"["), (200, b"[" * 100_000), (404, b""), (302, b""), (200, b'{"issuer": 1}')):
            served.answers[FEED] = answer
            failures = feed.failures
            served.issuer.revoke(jti=f"one-{failures}")
            await until(lambda failures=failures: feed.failures > failures, f"{answer[0]} is a failure")
        del served.answers[FEED]
        await until(lambda: feed.problem is None and len(feed.revocations) == 5, "the feed is followed again")


@pytest.mark.parametrize("max_feed_age", [1, 20, 300])
async def test_the_feed_is_waited_for_as_the_issuer_takes_it_whatever_its_greatest_age(
    issuer: Issuer, until: Any, max_feed_age: float
) -> None:
    made = Verifier(
        issuer.url,
        issuer.audience,
        client_id=issuer.client_id,
        client_secret=issuer.client_secret,
        options=Options(max_feed_age=max_feed_age),
        transport=issuer.transport,
        clock=issuer.clock,
    )
    async with made as verifier:
        for n in range(3):
            issuer.revoke(jti=f"one-{n}")
            await until(lambda n=n: verifier.health().revocations == n + 1, "it is told")
        feed = verifier._feed
        assert feed is not None
        assert feed.failures == 0


@pytest.mark.parametrize("audience", [None, ""])
def test_an_audience_that_was_not_set_is_an_error_and_not_every_audience(audience: Any) -> None:
    with pytest.raises(ConfigurationError, match="audience"):
        Verifier("https://auth.example.com", audience, revocations=False)


async def test_a_clock_that_was_ahead_for_a_while_has_lost_no_revocation(issuer: Issuer) -> None:
    ahead = 0.0
    async with issuer.verifier(clock=lambda: issuer.clock() + ahead) as verifier:
        token = issuer.token()
        issuer.revoke(token)
        ahead = 3600.0
        issuer.revoke(jti="another")  # whose answer comes while the clock is wrong
        assert await reason(verifier, token) == "expired"
        ahead = 0.0
        assert await reason(verifier, token) == "revoked"


class Slow(httpx2.AsyncBaseTransport):
    """Lets the answers of the feed be so many seconds on their way."""

    def __init__(self, issuer: Issuer, seconds: float) -> None:
        self._issuer, self._seconds = issuer, seconds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._issuer.transport.handle_async_request(request)
        if request.url.path == FEED:
            self._issuer.clock.move(self._seconds)
        return answer


async def test_a_snapshot_that_was_long_on_its_way_is_as_old_as_its_question(issuer: Issuer) -> None:
    async with issuer.verifier(transport=Slow(issuer, 20)) as verifier:
        age = verifier.health().feed_age
        assert age is not None
        assert age >= 20


async def test_a_feed_that_begins_with_changes_is_not_believed(served: Any) -> None:
    changes = served.issuer._feed("") | {"snapshot": False}
    served.answers[FEED] = 200, json.dumps(changes).encode()
    async with Verifier(**served.settings()) as verifier:
        assert verifier.health().doing == "introspect"
        assert "snapshot" in str(verifier.health().feed_problem)


@pytest.mark.parametrize("name", ["jwks_uri", "introspection_endpoint", "revocation_feed"])
@pytest.mark.parametrize("url", ["https://other.example.com/x", "http://auth.example.com/x", "/x"])
async def test_no_endpoint_lies_beside_the_issuers_own_url(issuer: Issuer, name: str, url: str) -> None:
    asked: list[str] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(f"{request.url.scheme}://{request.url.host}")
        told = await issuer.transport.handle_async_request(request)
        if "well-known/oauth" in request.url.path:
            metadata = json.loads(await told.aread()) | {name: url}
            return httpx2.Response(200, json=metadata)
        return told

    with pytest.raises(ConfigurationError, match="not below"):
        await issuer.verifier(transport=httpx2.MockTransport(answer)).start()
    assert set(asked) == {issuer.url}


@pytest.mark.parametrize(
    "url", ["auth.example.com", "ftp://a", "https://u:secret@a", "https://a?b", "https://[a", "https://a:b"]
)
def test_an_address_that_cannot_be_meant_is_an_error_that_does_not_repeat_it(url: str) -> None:
    addresses: tuple[dict[str, Any], ...] = {"issuer": url}, {"issuer": "https://a", "internal_url": url}
    for settings in addresses:
        with pytest.raises(ConfigurationError) as error:
            Verifier(**settings, audience="https://b", revocations=False)
        assert "secret" not in str(error.value)


async def test_before_the_first_keys_verify_cannot_tell_either(served: Any) -> None:
    served.stop()
    async with Verifier(**served.settings(options=Options(timeout=0.2))) as verifier:
        with pytest.raises(Unavailable, match="no keys yet"):
            verifier.verify(served.issuer.token())
