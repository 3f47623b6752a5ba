"""Keep the metrics of an epoch, and of a test, by name.

A training may measure anything: its metrics are one document instead of a column each. A column becomes the document in
place, so that a large table is written once.
"""

from collections.abc import Sequence

from alembic import op

revision = "0008"
down_revision = "0007"

_OF_AN_EPOCH = ("training_loss", "validation_loss", "accuracy", "learning_rate")
_OF_A_TEST = ("loss", "accuracy")


def upgrade() -> None:
    op.execute("SET LOCAL extra_float_digits = 1")  # every digit, whatever the role's own setting is
    _gather("epoch", _OF_AN_EPOCH)
    _gather("test_result", _OF_A_TEST)


def downgrade() -> None:
    """Give the metrics of Caviar's own loop their columns back; what a training did not measure becomes NaN."""
    _scatter("epoch", _OF_AN_EPOCH)
    _scatter("test_result", _OF_A_TEST)


def _gather(table: str, names: Sequence[str]) -> None:
    first, *others = names
    document = ", ".join(f"'{name}', {name}" for name in names)  # NaN and infinities become texts
    dropped = "".join(f", DROP COLUMN {name}" for name in others)
    op.execute(f"ALTER TABLE caviar.{table} ALTER COLUMN {first} TYPE jsonb USING jsonb_build_object({document})")
    op.execute(f"ALTER TABLE caviar.{table} RENAME COLUMN {first} TO metrics")
    op.execute(f"ALTER TABLE caviar.{table} {dropped.removeprefix(', ')}")


def _scatter(table: str, names: Sequence[str]) -> None:
    for name in names:
        op.execute(f"ALTER TABLE caviar.{table} ADD COLUMN {name} double precision")
    values = ", ".join(f"{name} = coalesce((metrics ->> '{name}')::double precision, 'NaN')" for name in names)
    op.execute(f"UPDATE caviar.{table} SET {values}")
    for name in names:
        op.execute(f"ALTER TABLE caviar.{table} ALTER COLUMN {name} SET NOT NULL")
    op.execute(f"ALTER TABLE caviar.{table} DROP COLUMN metrics")
