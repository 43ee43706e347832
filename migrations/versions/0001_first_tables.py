"""The first tables: users and clients, sessions, revocations, audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TextArray = postgresql.ARRAY(sa.Text())
Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", Time, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), comment="no foreign key: the story outlives the user"),
        sa.Column("client_id", sa.Text()),
        sa.Column("session_id", sa.Uuid()),
        sa.Column("address", sa.Text()),
        sa.Column("detail", sa.Text(), comment="a few words; never a token, password or hash"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_table(
        "catalog_version",
        sa.Column("id", sa.Boolean(), server_default=sa.true(), nullable=False, comment="the one row"),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("id", name=op.f("ck_catalog_version_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_version")),
    )
    op.create_table(
        "clients",
        sa.Column("id", sa.Text(), nullable=False, comment="the client_id"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), comment="null: a public client"),
        sa.Column("grant_types", TextArray, nullable=False),
        sa.Column(
            "first_party",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="ours: may use the password grant and the issuer's own endpoints",
        ),
        sa.Column(
            "scopes",
            TextArray,
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="what it may be granted",
        ),
        sa.Column(
            "default_scopes",
            TextArray,
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="what it is granted when it asks for none",
        ),
        sa.Column(
            "resources",
            TextArray,
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="the audiences it may ask for",
        ),
        sa.Column(
            "default_resources",
            TextArray,
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="its audience when it asks for none",
        ),
        sa.Column("introspect_any", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("refresh_grace", sa.Interval(), comment="null: the deployment's"),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="raised to kill every token made under a lower one",
        ),
        sa.Column("disabled_at", Time),
        sa.Column("created_at", Time, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.CheckConstraint(
            "NOT 'client_credentials' = ANY (grant_types) OR secret_sha256 IS NOT NULL",
            name=op.f("ck_clients_client_credentials_is_confidential"),
        ),
        sa.CheckConstraint(
            "NOT 'password' = ANY (grant_types) OR first_party",
            name=op.f("ck_clients_password_is_first_party"),
        ),
        sa.CheckConstraint(
            "id ~ '^[A-Za-z0-9._~-]{1,64}$'"
            " AND id !~* '^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$'",
            name=op.f("ck_clients_id"),
        ),
        sa.CheckConstraint("refresh_grace >= interval '0'", name=op.f("ck_clients_refresh_grace")),
        sa.CheckConstraint("default_resources <@ resources", name=op.f("ck_clients_default_resources")),
        sa.CheckConstraint("default_scopes <@ scopes", name=op.f("ck_clients_default_scopes")),
        sa.CheckConstraint("length(secret_sha256) = 32", name=op.f("ck_clients_secret_sha256")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
    )
    op.create_table(
        "revocation_head",
        sa.Column("id", sa.Boolean(), server_default=sa.true(), nullable=False, comment="the one row"),
        sa.Column(
            "timeline",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="new after a restore",
        ),
        sa.Column(
            "number",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="of the last revocation",
        ),
        sa.CheckConstraint("id", name=op.f("ck_revocation_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocation_head")),
    )
    op.create_table(
        "revocations",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="jti, sid, sub or client_id"),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), comment="tokens made under a lower one are dead; null: all are"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("revoked_at", Time, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("expires_at", Time, nullable=False, comment="the last token it kills is over everywhere"),
        sa.CheckConstraint("kind IN ('jti', 'sid', 'sub', 'client_id')", name=op.f("ck_revocations_kind")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_revocations")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_revocations_kind_subject")),
    )
    op.create_index(op.f("ix_revocations_expires_at"), "revocations", ["expires_at"], unique=False)
    op.create_table(
        "roles",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", TextArray, nullable=False, comment="what a user with this role may be granted"),
        sa.Column("created_at", Time, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.CheckConstraint("name ~ '^[!#-\\[\\]-~]{1,64}$'", name=op.f("ck_roles_name")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_roles")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column(
            "username",
            sa.Text(),
            nullable=False,
            comment="lower case; without @, so that no one is named like another's email",
        ),
        sa.Column("email", sa.Text(), comment="lower case"),
        sa.Column("password_hash", sa.Text(), comment="a PHC string, e.g. $argon2id$…"),
        sa.Column(
            "password_changed_at",
            Time,
            server_default=sa.func.clock_timestamp(),
            nullable=False,
            comment="a sign-in that read an older password is not finished; a mere rehash leaves it",
        ),
        sa.Column("roles", TextArray, server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="raised to kill every token made under a lower one",
        ),
        sa.Column("disabled_at", Time),
        sa.Column("created_at", Time, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.CheckConstraint(
            "email = lower(email) AND email ~ '^[^@]+@[^@]+$' AND length(email) <= 254",
            name=op.f("ck_users_email"),
        ),
        sa.CheckConstraint(
            "username = lower(username) AND username !~ '[@[:cntrl:]]' AND length(username) BETWEEN 1 AND 64",
            name=op.f("ck_users_username"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_table(
        "resources",
        sa.Column("uri", sa.Text(), nullable=False, comment="an absolute URI, the `aud` of its tokens"),
        sa.Column("scopes", TextArray, nullable=False, comment="what it understands"),
        sa.Column("client_id", sa.Text(), comment="the client that it introspects as"),
        sa.Column("created_at", Time, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.CheckConstraint(
            "uri ~ '^[A-Za-z][A-Za-z0-9+.-]*:[^[:space:]#]+$' AND length(uri) <= 512",
            name=op.f("ck_resources_uri"),
        ),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], name=op.f("fk_resources_client_id_clients"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("uri", name=op.f("pk_resources")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False, comment="the `sid` of its tokens"),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("ends_at", Time, nullable=False, comment="however often it is refreshed"),
        sa.Column(
            "client_epoch",
            sa.BigInteger(),
            nullable=False,
            comment="the client's when it began; a session of a lower one is over",
        ),
        sa.Column("amr", TextArray, nullable=False, comment="how the user signed in (RFC 8176)"),
        sa.Column("scopes", TextArray, nullable=False, comment="granted at sign-in; never more than these"),
        sa.Column(
            "resources",
            TextArray,
            nullable=False,
            comment="audiences granted at sign-in; never more than these",
        ),
        sa.Column("address", sa.Text(), comment="where the sign-in came from"),
        sa.Column("user_agent", sa.Text()),
        sa.Column("jti", sa.Uuid(), nullable=False, comment="the live refresh token"),
        sa.Column("previous_jti", sa.Uuid(), comment="the refresh token before it"),
        sa.Column("refreshed_at", Time, nullable=False, comment="when the live token was made: its `iat`"),
        sa.Column("expires_at", Time, nullable=False, comment="when the live token is over: its `exp`"),
        sa.Column("generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "replays",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="successors handed out again within the grace period",
        ),
        sa.Column("replayed_at", Time),
        sa.Column("ended_at", Time),
        sa.Column("end_reason", sa.Text()),
        sa.CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name=op.f("ck_sessions_end")),
        sa.ForeignKeyConstraint(
            ["client_id"], ["clients.id"], name=op.f("fk_sessions_client_id_clients"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(op.f("ix_sessions_client_id"), "sessions", ["client_id"], unique=False)
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.execute("INSERT INTO catalog_version DEFAULT VALUES")
    op.execute("INSERT INTO revocation_head DEFAULT VALUES")
