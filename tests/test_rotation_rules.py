"""The rules of rotation as pure functions, and the statement that must agree with them."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sessions.rotation import _rotate
from service.sessions.rules import SessionState, verdict
from tests.support.client import unique
from tests.support.deployment import Deployment

LIVE, BEFORE, OLDER = uuid4(), uuid4(), uuid4()
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

ages = st.integers(-120, 120).map(lambda seconds: timedelta(seconds=seconds * 10 + 5))
"""Never near enough to a boundary that the moment between two clocks could matter."""

states = st.builds(
    SessionState,
    jti=st.just(LIVE),
    previous_jti=st.sampled_from([None, BEFORE]),
    refreshed_at=ages.map(lambda age: NOW - abs(age)),
    expires_at=ages.map(lambda age: NOW + age),
    ended_at=st.sampled_from([None, None, None, NOW]),
)
graces = st.sampled_from([timedelta(0), timedelta(seconds=30), timedelta(minutes=5)])
presented = st.sampled_from([LIVE, BEFORE, OLDER])


@given(states, presented, graces)
def test_a_session_that_is_over_stays_over_whatever_is_presented(
    state: SessionState, token: UUID, grace: timedelta
) -> None:
    over = state.ended_at is not None or state.expires_at <= NOW

    assert (verdict(state, token, NOW, grace) == "over") == over


@given(states, graces)
def test_a_token_that_the_row_does_not_know_is_reuse(state: SessionState, grace: timedelta) -> None:
    assert verdict(state, OLDER, NOW, grace) in {"reuse", "over"}


@given(states)
def test_without_a_grace_period_the_token_before_is_reuse(state: SessionState) -> None:
    assert verdict(state, BEFORE, NOW, timedelta(0)) in {"reuse", "over"}


def test_the_grace_period_ends_at_its_second() -> None:
    state = SessionState(LIVE, BEFORE, NOW - timedelta(seconds=30), NOW + timedelta(days=1), None)

    assert verdict(state, BEFORE, NOW, timedelta(seconds=30)) == "reuse"
    assert verdict(state, BEFORE, NOW - timedelta(microseconds=1), timedelta(seconds=30)) == "replay"


class Bench:
    """Runs the statement on a row of any state, in a transaction that is rolled back."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.connection = self.loop.run_until_complete(asyncpg.connect(url))

    def close(self) -> None:
        self.loop.run_until_complete(self.connection.close())
        self.loop.close()

    def outcome(self, state: SessionState, token: UUID, grace: timedelta) -> str:
        return self.loop.run_until_complete(self._outcome(state, token, grace))

    async def _outcome(self, state: SessionState, token: UUID, grace: timedelta) -> str:
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            now = await self.connection.fetchval("SELECT clock_timestamp()")
            session_id, successor = uuid4(), uuid4()
            await self._insert(session_id, state, now - NOW)
            row = await self.connection.fetchrow(
                _rotate.sql,
                *_rotate.arguments(
                    {
                        "jti": token,
                        "successor": successor,
                        "idle": timedelta(days=14),
                        "session_id": session_id,
                        "client_id": "demo-app",
                        "client_epoch": 0,
                        "grace": grace,
                        "deadline": now + timedelta(seconds=5),
                        "asked": [],
                        "allowed": ["here"],
                    }
                ),
            )
            if row is None:
                return "refused"
            return "rotate" if row["jti"] == successor else "replay"
        finally:
            await transaction.rollback()

    async def _insert(self, session_id: UUID, state: SessionState, shift: timedelta) -> None:
        user_id = await self.connection.fetchval(
            "INSERT INTO users (username) VALUES ($1) RETURNING id", unique("bench")
        )
        await self.connection.execute(
            "INSERT INTO sessions (id, user_id, client_id, client_epoch, started_at, ends_at, amr, scopes, resources,"
            " jti, previous_jti, refreshed_at, expires_at, ended_at, end_reason)"
            " VALUES ($1, $2, 'demo-app', 0, $3, $4, '{}', '{}', '{here}', $5, $6, $7, $8, $9, $10)",
            session_id,
            user_id,
            state.refreshed_at + shift,
            NOW + shift + timedelta(days=90),
            state.jti,
            state.previous_jti,
            state.refreshed_at + shift,
            state.expires_at + shift,
            state.ended_at and state.ended_at + shift,
            state.ended_at and "logout",
        )


@pytest.fixture(scope="module")
def bench(deployment: Deployment) -> Iterator[Bench]:
    made = Bench(deployment.database_url)
    yield made
    made.close()


@settings(max_examples=200, deadline=None)
@given(state=states, token=presented, grace=graces)
def test_the_statement_decides_as_the_rules_do(
    bench: Bench, state: SessionState, token: UUID, grace: timedelta
) -> None:
    expected = verdict(state, token, NOW, grace)

    assert bench.outcome(state, token, grace) == (expected if expected in {"rotate", "replay"} else "refused")
