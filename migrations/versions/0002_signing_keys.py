"""Signing keys: a compromised one is revoked by its kid."""

import sqlalchemy as sa
from alembic import op

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
