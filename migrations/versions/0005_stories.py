"""Audit events say more, are found by user and session, and only ever go by their age."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_events", sa.Column("user_agent", sa.Text(), comment="as the caller says"))
    op.add_column("audit_events", sa.Column("request_id", sa.Text()))
    op.add_column(
        "audit_events",
        sa.Column("actor", sa.Text(), comment="who ran the command, as its machine says; null: nobody did"),
    )
    op.add_column(
        "audit_events",
        sa.Column(
            "times",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="told by one row",
        ),
    )
    op.create_index(op.f("ix_audit_events_user_id"), "audit_events", ["user_id"])
    op.create_index(op.f("ix_audit_events_session_id"), "audit_events", ["session_id"])
    op.create_index(op.f("ix_audit_events_at"), "audit_events", ["at"], postgresql_using="brin")
    op.execute(
        """
        CREATE FUNCTION audit_events_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'audit_events is append-only: no % (rows go by their age)', TG_OP
            USING ERRCODE = 'restrict_violation';
    END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER no_update BEFORE UPDATE OR TRUNCATE ON audit_events
            FOR EACH STATEMENT EXECUTE FUNCTION audit_events_append_only()
        """
    )
    op.execute(
        """
        CREATE TRIGGER no_early_delete BEFORE DELETE ON audit_events
            FOR EACH ROW WHEN (OLD.at > clock_timestamp() - interval '1 day')
            EXECUTE FUNCTION audit_events_append_only()
        """
    )
