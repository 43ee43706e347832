"""Rows of users and roles."""

import sqlalchemy as sa

from service.database import TextArray, Time, metadata

roles = sa.Table(
    "roles",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("scopes", TextArray, nullable=False, comment="what a user with this role may be granted"),
    sa.Column("created_at", Time, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.CheckConstraint("name ~ '^[!#-\\[\\]-~]{1,64}$'", name="name"),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.func.gen_random_uuid()),
    sa.Column(
        "username",
        sa.Text,
        nullable=False,
        comment="lower case; without @, so that no one is named like another's email",
    ),
    sa.Column("email", sa.Text, comment="lower case"),
    sa.Column("password_hash", sa.Text, comment="a PHC string, e.g. $argon2id$…"),
    sa.Column(
        "password_changed_at",
        Time,
        nullable=False,
        server_default=sa.func.clock_timestamp(),
        comment="a sign-in that read an older password is not finished; a mere rehash leaves it",
    ),
    sa.Column("roles", TextArray, nullable=False, server_default=sa.text("'{}'")),
    sa.Column(
        "epoch",
        sa.BigInteger,
        nullable=False,
        server_default=sa.text("0"),
        comment="raised to kill every token made under a lower one",
    ),
    sa.Column("disabled_at", Time),
    sa.Column("created_at", Time, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.UniqueConstraint("username"),
    sa.UniqueConstraint("email"),
    sa.CheckConstraint(
        "username = lower(username) AND username !~ '[@[:cntrl:]]' AND length(username) BETWEEN 1 AND 64",
        name="username",
    ),
    sa.CheckConstraint(
        "email = lower(email) AND email ~ '^[^@]+@[^@]+$' AND length(email) <= 254", name="email"
    ),
)
