"""The feed's copy: whoever follows it holds what the record holds, wherever they begin."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.revocation.feed import Copy, Cursor
from service.revocation.record import Entry
from tests.support.feed import apply, read

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TIMELINE = UUID(int=7)


@st.composite
def records(draw: st.DrawFn) -> list[Entry]:
    """Revocations in the order of their numbers, of few subjects, some numbers gone with what superseded them."""
    entries: list[Entry] = []
    number = 0
    for _ in range(draw(st.integers(0, 30))):
        number += draw(st.integers(1, 3))
        entries.append(
            Entry(
                number,
                draw(st.sampled_from(["jti", "sid", "sub", "client_id"])),
                draw(st.sampled_from(["a", "b", "c"])),
                draw(st.none() | st.integers(1, 9)),
                "logout",
                NOW + timedelta(seconds=draw(st.integers(1, 100))),
            )
        )
    return entries


@given(records(), st.data())
def test_changes_from_any_cursor_lead_to_the_snapshot(entries: list[Entry], data: st.DataObject) -> None:
    copy = Copy(TIMELINE)
    listener: dict[tuple[str, str], Any] = {}
    cursor = 0
    while entries:
        size = data.draw(st.integers(1, len(entries)))
        taken, entries = entries[:size], entries[size:]
        copy.take(taken, upto=taken[-1].number)
        if data.draw(st.booleans()):
            apply(listener, read(copy.after(cursor)))
            cursor = copy.cursor.number
            assert listener == apply({}, read(copy.all()))
    apply(listener, read(copy.after(cursor)))
    assert listener == apply({}, read(copy.all()))


@given(records(), st.integers(0, 120))
def test_what_is_over_is_dropped_and_nothing_else(entries: list[Entry], seconds: int) -> None:
    copy = Copy(TIMELINE)
    copy.take(entries, upto=100)
    now = NOW + timedelta(seconds=seconds)
    copy.drop_over(now.timestamp())

    newest = {(entry.kind, entry.subject): entry for entry in entries}
    held = {subject for subject, entry in newest.items() if entry.expires_at >= now}
    assert set(apply({}, read(copy.all()))) == held
    assert len(copy) == len(held)
    assert copy.cursor == Cursor(TIMELINE, 100)


@given(st.text(max_size=60))
def test_no_text_but_a_cursor_is_a_cursor(text: str) -> None:
    cursor = Cursor.parse(text)
    assert cursor is None or str(cursor) == text
    assert Cursor.parse(str(Cursor(TIMELINE, 12))) == Cursor(TIMELINE, 12)
