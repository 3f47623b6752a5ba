"""Drop the columns about updates of the dashboard's note.

The note on a study in Optuna's dashboard is written when the study begins and when it ends, and not in between: nothing
about it needs to be remembered.
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.drop_column("study", "noted_at", schema="caviar")
    op.drop_column("study", "note_version", schema="caviar")
