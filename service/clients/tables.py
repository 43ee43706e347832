"""Rows of clients and resources."""

import sqlalchemy as sa

from service.database import TextArray, Time, metadata

EMPTY = sa.text("'{}'")

clients = sa.Table(
    "clients",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, comment="the client_id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret_sha256", sa.LargeBinary, comment="null: a public client"),
    sa.Column("grant_types", TextArray, nullable=False),
    sa.Column(
        "first_party",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="ours: may use the password grant and the issuer's own endpoints",
    ),
    sa.Column("scopes", TextArray, nullable=False, server_default=EMPTY, comment="what it may be granted"),
    sa.Column(
        "default_scopes",
        TextArray,
        nullable=False,
        server_default=EMPTY,
        comment="what it is granted when it asks for none",
    ),
    sa.Column(
        "resources", TextArray, nullable=False, server_default=EMPTY, comment="the audiences it may ask for"
    ),
    sa.Column(
        "default_resources",
        TextArray,
        nullable=False,
        server_default=EMPTY,
        comment="its audience when it asks for none",
    ),
    sa.Column("introspect_any", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("refresh_grace", sa.Interval, comment="null: the deployment's"),
    sa.Column(
        "epoch",
        sa.BigInteger,
        nullable=False,
        server_default=sa.text("0"),
        comment="raised to kill every token made under a lower one",
    ),
    sa.Column("disabled_at", Time),
    sa.Column("created_at", Time, nullable=False, server_default=sa.func.clock_timestamp()),
    # RFC 9700 4.15: `sub` is a user's id or a client_id, so no client_id may look like a user's id.
    sa.CheckConstraint(
        "id ~ '^[A-Za-z0-9._~-]{1,64}$'"
        " AND id !~* '^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$'",
        name="id",
    ),
    sa.CheckConstraint("length(secret_sha256) = 32", name="secret_sha256"),
    sa.CheckConstraint("default_scopes <@ scopes", name="default_scopes"),
    sa.CheckConstraint("default_resources <@ resources", name="default_resources"),
    sa.CheckConstraint(
        "NOT 'client_credentials' = ANY (grant_types) OR secret_sha256 IS NOT NULL",
        name="client_credentials_is_confidential",
    ),
    sa.CheckConstraint("NOT 'password' = ANY (grant_types) OR first_party", name="password_is_first_party"),
    sa.CheckConstraint("refresh_grace >= interval '0'", name="refresh_grace"),
)

resources = sa.Table(
    "resources",
    metadata,
    sa.Column("uri", sa.Text, primary_key=True, comment="an absolute URI, the `aud` of its tokens"),
    sa.Column("scopes", TextArray, nullable=False, comment="what it understands"),
    sa.Column(
        "client_id",
        sa.Text,
        sa.ForeignKey("clients.id", ondelete="SET NULL"),
        comment="the client that it introspects as",
    ),
    sa.Column("created_at", Time, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.CheckConstraint("uri ~ '^[A-Za-z][A-Za-z0-9+.-]*:[^[:space:]#]+$' AND length(uri) <= 512", name="uri"),
)
