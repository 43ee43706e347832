"""Signing keys: a compromised one is revoked by its kid; what replicas report; a ring that is kept here, sealed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint(op.f("ck_revocations_kind"), "revocations", type_="check")
    op.create_check_constraint(
        op.f("ck_revocations_kind"),
        "revocations",
        "kind IN ('jti', 'sid', 'sub', 'client_id', 'kid')",
    )
    op.alter_column(
        "revocations",
        "kind",
        existing_type=sa.Text(),
        existing_nullable=False,
        comment="jti, sid, sub, client_id or kid",
    )
    op.create_table(
        "key_replicas",
        sa.Column("id", sa.Uuid(), nullable=False, comment="of one worker process, random"),
        sa.Column("host", sa.Text(), nullable=False, comment="for operators"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="for operators"),
        sa.Column("store", sa.Text(), nullable=False, comment="where it reads the ring: files or postgres"),
        sa.Column("keeps", sa.Boolean(), nullable=False, comment="it can change the ring"),
        sa.Column("kids", postgresql.ARRAY(sa.Text()), nullable=False, comment="the keys that it publishes"),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.clock_timestamp(),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_replicas")),
    )
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False, comment="the private key"),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )
    op.create_table(
        "signing_ring",
        sa.Column("id", sa.Boolean(), server_default=sa.true(), nullable=False, comment="the one row"),
        sa.Column("sealed", sa.LargeBinary(), comment="null: there is no ring here"),
        sa.CheckConstraint("id", name=op.f("ck_signing_ring_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_ring")),
    )
    op.execute("INSERT INTO signing_ring DEFAULT VALUES")
