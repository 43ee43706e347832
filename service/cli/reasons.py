"""Why sessions end, in words: for whoever looks into it, and for the user to be told."""

from collections.abc import Mapping
from typing import NamedTuple, cast

from service.revocation import Reason

AGAIN = "Please sign in again."


class Words(NamedTuple):
    """What is said of one reason."""

    cause: str
    """To an operator, after `Ended …:`."""
    tell: str
    """To the user."""


WORDS: Mapping[Reason, Words] = {
    "logout": Words("its user signed out", "You signed out."),
    "logout_all": Words(
        "all sessions of its user were ended: a logout everywhere",
        "You were signed out because you, or our support for you, signed your account out everywhere.",
    ),
    "revoked": Words(
        "its client revoked the refresh token",
        f"You were signed out by the application that you were using. {AGAIN}",
    ),
    "reuse": Words(
        "a refresh token was used again that had been exchanged before",
        "You were signed out because the proof of your sign-in was used twice, which happens when a connection breaks, "
        "but also when somebody copies it. Please sign in again; if you see sessions that you do not know, end them "
        "and change your password.",
    ),
    "password_changed": Words(
        "its user changed the password in another session",
        f"You were signed out because your password was changed from another device. {AGAIN}",
    ),
    "password_reset": Words(
        "an operator set a new password",
        "You were signed out because our support set a new password for you. Sign in with that one.",
    ),
    "user_disabled": Words(
        "an operator disabled its user",
        "You were signed out because your account was disabled. Please contact our support.",
    ),
    "user_deleted": Words("its user was deleted", "You were signed out because your account was deleted."),
    "client_disabled": Words(
        "an operator disabled its client",
        "You were signed out because the application that you were using was switched off.",
    ),
    "key_compromised": Words(
        "the key that signed its refresh token was declared compromised",
        f"You were signed out because we replaced a key that your sign-in relied on, to be safe. {AGAIN}",
    ),
    "administrator": Words("an operator ended it", f"You were signed out by our support. {AGAIN}"),
    "restored": Words(
        "the database was restored from a backup",
        f"You were signed out because our service was restored from a backup. {AGAIN}",
    ),
}
"""Of every reason that ends sessions; others only kill tokens."""


def said(reason: str | None) -> Words:
    """Return the words of a reason; of one that a newer release knows and this one does not, the reason itself."""
    known = WORDS.get(cast("Reason", reason))
    plain = (reason or "").replace("_", " ")
    return known or Words(plain, f"You were signed out ({plain}). {AGAIN}")
