"""What of the signing keys is in Postgres: what each worker reports of itself, and the ring where it is kept there."""

import sqlalchemy as sa

from service.database import TextArray, Time, metadata

key_replicas = sa.Table(
    "key_replicas",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, comment="of one worker process, random"),
    sa.Column("host", sa.Text, nullable=False, comment="for operators"),
    sa.Column("pid", sa.Integer, nullable=False, comment="for operators"),
    sa.Column("store", sa.Text, nullable=False, comment="where it reads the ring: files or postgres"),
    sa.Column("keeps", sa.Boolean, nullable=False, comment="it can change the ring"),
    sa.Column("kids", TextArray, nullable=False, comment="the keys that it publishes"),
    sa.Column("seen_at", Time, nullable=False, server_default=sa.func.clock_timestamp()),
)

signing_ring = sa.Table(
    "signing_ring",
    metadata,
    sa.Column("id", sa.Boolean, primary_key=True, server_default=sa.true(), comment="the one row"),
    sa.Column("sealed", sa.LargeBinary, comment="null: there is no ring here"),
    sa.CheckConstraint("id", name="one_row"),
)

signing_keys = sa.Table(
    "signing_keys",
    metadata,
    sa.Column("kid", sa.Text, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False, comment="the private key"),
)
