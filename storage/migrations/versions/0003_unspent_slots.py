"""Index the unspent slots.

An index of the slots that are not spent, of which a worker leases: in a long study they are few among many.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index(
        "ix_slot_unspent",
        "slot",
        ["study_id", "number"],
        schema="caviar",
        postgresql_where=sa.text("state IN ('open', 'leased')"),
    )
