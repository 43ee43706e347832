"""The session row: one a sign-in, whatever the number of rotations."""

import sqlalchemy as sa

from service.database import TextArray, Time, metadata

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, comment="the `sid` of its tokens"),
    sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("client_id", sa.Text, sa.ForeignKey("clients.id", ondelete="CASCADE"), nullable=False),
    sa.Column("started_at", Time, nullable=False),
    sa.Column("ends_at", Time, nullable=False, comment="however often it is refreshed"),
    sa.Column(
        "client_epoch",
        sa.BigInteger,
        nullable=False,
        comment="the client's when it began; a session of a lower one is over",
    ),
    sa.Column("amr", TextArray, nullable=False, comment="how the user signed in (RFC 8176)"),
    sa.Column("scopes", TextArray, nullable=False, comment="granted at sign-in; never more than these"),
    sa.Column(
        "resources", TextArray, nullable=False, comment="audiences granted at sign-in; never more than these"
    ),
    sa.Column("address", sa.Text, comment="where the sign-in came from"),
    sa.Column("user_agent", sa.Text),
    # What a rotation changes. None of it is indexed and the page keeps room, so the update stays
    # heap-only (HOT): no index grows, and the old version is pruned with the next.
    sa.Column("jti", sa.Uuid, nullable=False, comment="the live refresh token"),
    sa.Column("previous_jti", sa.Uuid, comment="the refresh token before it"),
    sa.Column("refreshed_at", Time, nullable=False, comment="when the live token was made: its `iat`"),
    sa.Column("expires_at", Time, nullable=False, comment="when the live token is over: its `exp`"),
    sa.Column("generation", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column(
        "replays",
        sa.BigInteger,
        nullable=False,
        server_default=sa.text("0"),
        comment="successors handed out again within the grace period",
    ),
    sa.Column("replayed_at", Time),
    sa.Column("ended_at", Time),
    sa.Column("end_reason", sa.Text),
    sa.Index(None, "user_id"),
    sa.Index(None, "client_id"),
    sa.CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="end"),
    postgresql_with={"fillfactor": 70},
)
