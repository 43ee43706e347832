"""The events: rows are added, never changed, and go only by their age. The database itself sees to it."""

import sqlalchemy as sa

from service.database import Time, metadata

audit_events = sa.Table(
    "audit_events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", Time, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("user_id", sa.Uuid, comment="no foreign key: the story outlives the user"),
    sa.Column("client_id", sa.Text),
    sa.Column("session_id", sa.Uuid),
    sa.Column("address", sa.Text),
    sa.Column("detail", sa.Text, comment="a few words; never a token, password or hash"),
    sa.Column("user_agent", sa.Text, comment="as the caller says"),
    sa.Column("request_id", sa.Text),
    sa.Column("actor", sa.Text, comment="who ran the command, as its machine says; null: nobody did"),
    sa.Column("times", sa.Integer, nullable=False, server_default=sa.text("1"), comment="told by one row"),
    sa.Index(None, "user_id"),
    sa.Index(None, "session_id"),
    sa.Index(None, "at", postgresql_using="brin"),
)

# A day: less than any sensible retention, so that every release's janitor keeps to it.
_APPEND_ONLY = (
    """
    CREATE FUNCTION audit_events_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'audit_events is append-only: no % (rows go by their age)', TG_OP
            USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE TRIGGER no_update BEFORE UPDATE OR TRUNCATE ON audit_events
        FOR EACH STATEMENT EXECUTE FUNCTION audit_events_append_only()
    """,
    """
    CREATE TRIGGER no_early_delete BEFORE DELETE ON audit_events
        FOR EACH ROW WHEN (OLD.at > clock_timestamp() - interval '1 day')
        EXECUTE FUNCTION audit_events_append_only()
    """,
)
for _statement in _APPEND_ONLY:
    sa.event.listen(
        audit_events,
        "after_create",
        sa.DDL(_statement.replace("%", "%%")),  # type: ignore[no-untyped-call]  # theirs
    )
