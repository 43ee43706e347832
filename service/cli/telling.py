"""A session's story in paragraphs, for people."""

from collections.abc import Callable
from datetime import datetime, timedelta

from service.cli.reasons import said
from service.cli.story import Reuse, Story
from service.cli.words import ago, moment, span


def told(story: Story, grace: timedelta, now: datetime) -> list[str]:
    """Write the story in paragraphs."""

    def when(at: datetime) -> str:
        return f"{moment(at.timestamp())} ({ago(at.timestamp(), now.timestamp())})"

    lines = [_beginning(story, when)]
    if story.rotations is not None:
        lines.append(_middle(story, grace, when))
    lines.append(_end(story, when))
    if story.reuse is not None:
        lines.append(_cause(story.reuse, grace))
    if story.tell_user:
        lines.append(f"Tell the user: {story.tell_user}")
    return lines


def _beginning(story: Story, when: Callable[[datetime], str]) -> str:
    if story.started_at is None:
        return "Its beginning is not known any more."
    how = "with a password" if "pwd" in story.amr else f"by {' '.join(story.amr) or 'unknown means'}"
    where = f", from {story.address}" if story.address else ""
    program = f', with "{story.user_agent}"' if story.user_agent else ""
    return (
        f"Started {when(story.started_at)}: {story.username or 'a user who is gone'} signed in {how} "
        f"through {story.client_id}{where}{program}."
    )


def _middle(story: Story, grace: timedelta, when: Callable[[datetime], str]) -> str:
    said = "Never refreshed."
    if story.last_rotated_at is not None:
        said = f"Refreshed {_times(story.rotations)}, last {when(story.last_rotated_at)}."
    if story.last_replayed_at is not None:
        said += (
            f" Replayed {_times(story.replays)}, last {when(story.last_replayed_at)}: a token was sent again within "
            f"{span(grace.total_seconds())} of its exchange and got the same successor, as after a lost answer."
        )
    return said


def _end(story: Story, when: Callable[[datetime], str]) -> str:
    match story.state:
        case "alive":
            assert story.good_until is not None
            assert story.ends_at is not None
            return (
                f"Alive: good until {when(story.good_until)} unless it is refreshed before, "
                f"and until {when(story.ends_at)} at most."
            )
        case "expired":
            assert story.good_until is not None
            why = (
                "it was not refreshed for too long"
                if story.good_until != story.ends_at
                else "its time was up"
            )
            return f"Expired {when(story.good_until)}: {why}."
        case "shut out":
            return "Over: its user or client is disabled, or was since it began."
        case "forgotten":
            return (
                "Over, and its row is gone. Nothing ended it: it expired, or its user or client was deleted."
            )
        case "ended":
            assert story.ended_at is not None
            by = f" ({story.ended_by})" if story.ended_by else ""
            return f"Ended {when(story.ended_at)}: {said(story.end_reason).cause}{by}."


def _cause(reuse: Reuse, grace: timedelta) -> str:
    origin = "the sign-in's own address and program" if reuse.same_origin else "another address or program"
    came = f'It came from {origin}: {reuse.address or "unknown"}, "{reuse.user_agent or "unknown"}".'
    after = span(reuse.after.total_seconds())
    if reuse.presented == "the token before":
        which = (
            f"The token had been exchanged {after} before; the grace period is {span(grace.total_seconds())}."
        )
    else:
        which = (
            f"It was an older token: its successor had been exchanged as well, the last one {after} before."
        )
    because = {
        "a late retry": "Likely a client that lost the answer and asked again after the grace period. "
        "Have it retry sooner, or give it a longer one",
        "a copied token": "Likely a copied token: take it for theft until it is explained. A client that was put "
        "back from a backup, or two programs that share one store, look the same",
        "not clear": "Either a client that asked again very late, or a copied token: ask the user",
    }[reuse.likely]
    return f"{which} {came} {because}."


def _times(count: int | None) -> str:
    return "once" if count == 1 else f"{count:,} times"
