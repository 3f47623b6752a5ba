"""Let a slot be spent by another Optuna program, which ended its trial."""

from alembic import op

revision = "0007"
down_revision = "0006"

_STATES = "state IN ('open', 'leased', 'done', 'abandoned', 'ended elsewhere')"


def upgrade() -> None:
    op.drop_constraint("ck_slot_state", "slot", schema="caviar")
    op.create_check_constraint("state", "slot", _STATES, schema="caviar")
