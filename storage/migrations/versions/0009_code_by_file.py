"""Keep a digest of each file of the user's training code, and the commit that they are at."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for column in (sa.Column("files", JSONB()), sa.Column("commit", sa.Text()), sa.Column("remote", sa.Text())):
        op.add_column("definition", column, schema="caviar")


def downgrade() -> None:
    for name in ("files", "commit", "remote"):
        op.drop_column("definition", name, schema="caviar")
