"""Keep what many workers need: the job of a scheduler that each belongs to, whether it is to leave, and which machine
measures the winner of a study, so that not all of them do when it ends."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("worker", sa.Column("job", sa.Text()), schema="caviar")
    op.add_column(
        "worker", sa.Column("leave", sa.Boolean(), nullable=False, server_default=sa.false()), schema="caviar"
    )
    op.add_column("study", sa.Column("tester", sa.Uuid()), schema="caviar")
    op.add_column("study", sa.Column("tester_until", sa.DateTime(timezone=True)), schema="caviar")


def downgrade() -> None:
    for table, name in (("worker", "job"), ("worker", "leave"), ("study", "tester"), ("study", "tester_until")):
        op.drop_column(table, name, schema="caviar")
