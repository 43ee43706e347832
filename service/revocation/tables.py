"""The record: every revocation still in force, numbered in the order in which they were committed."""

import sqlalchemy as sa

from service.database import Time, metadata

revocation_head = sa.Table(
    "revocation_head",
    metadata,
    sa.Column("id", sa.Boolean, primary_key=True, server_default=sa.true(), comment="the one row"),
    sa.Column(
        "timeline",
        sa.Uuid,
        nullable=False,
        server_default=sa.func.gen_random_uuid(),
        comment="new after a restore",
    ),
    # Its row lock is held until the commit, so numbers become visible in their own order and
    # without a gap. A sequence would let a reader at 10 miss a 9 that commits later.
    sa.Column(
        "number", sa.BigInteger, nullable=False, server_default=sa.text("0"), comment="of the last revocation"
    ),
    sa.CheckConstraint("id", name="one_row"),
)

revocations = sa.Table(
    "revocations",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False, comment="jti, sid, sub, client_id or kid"),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, comment="tokens made under a lower one are dead; null: all are"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("revoked_at", Time, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("expires_at", Time, nullable=False, comment="the last token it kills is over everywhere"),
    sa.UniqueConstraint("kind", "subject"),
    sa.CheckConstraint("kind IN ('jti', 'sid', 'sub', 'client_id', 'kid')", name="kind"),
    sa.Index(None, "expires_at"),
)
