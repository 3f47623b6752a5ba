"""Support several machines: versions of definitions, abandoned slots, checkpoint files and control of workers.

Revisions of a definition, slots that are abandoned, checkpoints in files, and what workers are asked to do.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column(
        "study", sa.Column("at_once", sa.Boolean(), server_default=sa.text("false"), nullable=False), schema="caviar"
    )
    _replace_check("study", "control", "control IN ('run', 'pause', 'stop')")
    op.add_column("definition", sa.Column("code", sa.Text()), schema="caviar")
    op.add_column("definition", sa.Column("data", sa.Text()), schema="caviar")
    op.add_column(
        "definition",
        sa.Column("changes", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        schema="caviar",
    )
    op.add_column("worker", sa.Column("ended_at", sa.DateTime(timezone=True)), schema="caviar")
    op.add_column("slot", sa.Column("losses", sa.SmallInteger(), server_default="0", nullable=False), schema="caviar")
    op.add_column(
        "slot", sa.Column("kill", sa.Boolean(), server_default=sa.text("false"), nullable=False), schema="caviar"
    )
    _replace_check("slot", "state", "state IN ('open', 'leased', 'done', 'abandoned')")
    op.add_column("checkpoint", sa.Column("address", sa.Text()), schema="caviar")
    op.alter_column("checkpoint", "state", existing_type=sa.LargeBinary(), nullable=True, schema="caviar")
    op.create_check_constraint(
        op.f("ck_checkpoint_place"), "checkpoint", "(state IS NULL) <> (address IS NULL)", schema="caviar"
    )


def _replace_check(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, schema="caviar")
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition, schema="caviar")
