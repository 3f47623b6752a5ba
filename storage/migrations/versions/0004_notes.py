"""Record when the dashboard's note on a study was last updated.

When the note on a study in Optuna's dashboard was last brought up to date, and which of its versions was seen then.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("study", sa.Column("noted_at", sa.DateTime(timezone=True)), schema="caviar")
    op.add_column("study", sa.Column("note_version", sa.Integer(), server_default="0", nullable=False), schema="caviar")
