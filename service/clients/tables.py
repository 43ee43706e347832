"""Rows of clients and resources."""

import sqlalchemy as sa

from service.database import TextArray, Time, metadata

EMPTY = sa.text("'{}'")

NO_SECRET = bytes(32)
"""Stands in `secret_sha256` of a client that proves itself by its keys alone: the digest of nothing anybody knows.

The release before takes a client whose column is null for a public one, and would let anybody in who names it.
"""

clients = sa.Table(
    "clients",
    metadata,
    sa.Column("id", sa.Text, primary_key=True, comment="the client_id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column(
        "secret_sha256", sa.LargeBinary, comment="null: a public client; zeros: it has keys, no secret"
    ),
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
    sa.Column("secret_made_at", Time, comment="null: with the client"),
    sa.Column("second_secret_sha256", sa.LargeBinary, comment="the younger one, while both are live"),
    sa.Column("second_secret_made_at", Time),
    sa.Column("jwks", sa.Text, comment="its public keys (RFC 7517), for private_key_jwt"),
    sa.Column("jwks_uri", sa.Text, comment="where they are, if not here"),
    sa.Column("access_token_lifetime", sa.Interval, comment="null: the deployment's; so the next two"),
    sa.Column("refresh_token_idle", sa.Interval),
    sa.Column("session_lifetime", sa.Interval),
    sa.Column(
        "origins",
        TextArray,
        nullable=False,
        server_default=EMPTY,
        comment="where a public client runs in browsers (CORS)",
    ),
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
    sa.CheckConstraint(
        "second_secret_sha256 IS NULL OR (length(second_secret_sha256) = 32 AND secret_sha256 IS NOT NULL)",
        name="second_secret_sha256",
    ),
    sa.CheckConstraint("jwks IS NULL OR jwks_uri IS NULL", name="one_place_of_keys"),
    sa.CheckConstraint(
        "(jwks IS NULL AND jwks_uri IS NULL) OR secret_sha256 IS NOT NULL", name="keys_are_confidential"
    ),
    sa.CheckConstraint("origins = '{}' OR secret_sha256 IS NULL", name="origins_are_of_public_clients"),
    sa.CheckConstraint(
        "access_token_lifetime > interval '0' AND refresh_token_idle > interval '0'"
        " AND session_lifetime > interval '0'",
        name="lifetimes",
    ),
)

used_assertions = sa.Table(
    "used_assertions",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True, comment="SHA-256 of the client_id and the jti"),
    sa.Column("expires_at", Time, nullable=False, comment="when the assertion is over on every replica"),
    sa.Index(None, "expires_at"),
    sa.CheckConstraint("length(digest) = 32", name="digest"),
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
