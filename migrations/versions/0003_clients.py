"""Clients that prove themselves by keys, two live secrets, lifetimes and origins of a client's own.

The release before reads `secret_sha256` alone: null is a public client to it. So a client with keys and without a
secret has 32 zero bytes there, which no secret hashes to.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TextArray = postgresql.ARRAY(sa.Text())
Time = sa.DateTime(timezone=True)

COLUMNS: tuple[sa.Column[Any], ...] = (
    sa.Column("secret_made_at", Time, comment="null: with the client"),
    sa.Column("second_secret_sha256", sa.LargeBinary(), comment="the younger one, while both are live"),
    sa.Column("second_secret_made_at", Time),
    sa.Column("jwks", sa.Text(), comment="its public keys (RFC 7517), for private_key_jwt"),
    sa.Column("jwks_uri", sa.Text(), comment="where they are, if not here"),
    sa.Column("access_token_lifetime", sa.Interval(), comment="null: the deployment's; so the next two"),
    sa.Column("refresh_token_idle", sa.Interval()),
    sa.Column("session_lifetime", sa.Interval()),
    sa.Column(
        "origins",
        TextArray,
        server_default=sa.text("'{}'"),
        nullable=False,
        comment="where a public client runs in browsers (CORS)",
    ),
)

CHECKS = {
    "second_secret_sha256": "second_secret_sha256 IS NULL"
    " OR (length(second_secret_sha256) = 32 AND secret_sha256 IS NOT NULL)",
    "one_place_of_keys": "jwks IS NULL OR jwks_uri IS NULL",
    "keys_are_confidential": "(jwks IS NULL AND jwks_uri IS NULL) OR secret_sha256 IS NOT NULL",
    "origins_are_of_public_clients": "origins = '{}' OR secret_sha256 IS NULL",
    "lifetimes": "access_token_lifetime > interval '0' AND refresh_token_idle > interval '0'"
    " AND session_lifetime > interval '0'",
}


def upgrade() -> None:
    op.alter_column(
        "clients",
        "secret_sha256",
        existing_type=sa.LargeBinary(),
        existing_nullable=True,
        existing_comment="null: a public client",
        comment="null: a public client; zeros: it has keys, no secret",
    )
    for column in COLUMNS:
        op.add_column("clients", column)
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_clients_{name}"), "clients", condition)
    op.create_table(
        "used_assertions",
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="SHA-256 of the client_id and the jti"),
        sa.Column("expires_at", Time, nullable=False, comment="when the assertion is over on every replica"),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_used_assertions_digest")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_used_assertions")),
    )
    op.create_index(op.f("ix_used_assertions_expires_at"), "used_assertions", ["expires_at"])
