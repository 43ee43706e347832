"""Nothing yet: the place of the changes to signing_keys."""

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
