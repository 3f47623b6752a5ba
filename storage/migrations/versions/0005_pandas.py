"""Create the tables of pandas: days and nudges.

One model that is trained for days: what a day began with, which day it built on, and what was changed meanwhile.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    study = sa.ForeignKey("caviar.study.study_id", ondelete="CASCADE")
    op.create_table(
        "panda",
        sa.Column("study_id", sa.Integer(), study, nullable=False),
        sa.Column("head", sa.Integer(), nullable=False),
        sa.Column("day_epochs", sa.Integer()),
        sa.Column("day_seconds", sa.Double()),
        sa.Column("keeps_all", sa.Boolean(), nullable=False),
        sa.Column("seed_number", sa.Integer(), nullable=False),
        sa.Column("origin", JSONB()),
        sa.PrimaryKeyConstraint("study_id", name="pk_panda"),
        sa.CheckConstraint("(day_epochs IS NULL) <> (day_seconds IS NULL)", name="day"),
        schema="caviar",
    )
    op.create_table(
        "day",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parent", sa.Integer()),
        sa.Column("begins_at", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("decay_from", sa.Integer(), nullable=False),
        sa.Column("epochs", sa.Integer()),
        sa.Column("is_look", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("study_id", "number", name="pk_day"),
        sa.ForeignKeyConstraint(
            ["study_id", "number"], ["caviar.slot.study_id", "caviar.slot.number"],
            name="fk_day_study_id_number", ondelete="CASCADE",
        ),
        schema="caviar",
    )  # fmt: skip
    op.create_table(
        "nudge",
        sa.Column("nudge_id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("study_id", sa.Integer(), sa.ForeignKey("caviar.study.study_id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("why", sa.Text()),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, server_default="waiting"),
        sa.Column("day", sa.Integer()),
        sa.Column("epoch", sa.Integer()),
        sa.PrimaryKeyConstraint("nudge_id", name="pk_nudge"),
        sa.CheckConstraint("state IN ('waiting', 'taken', 'dropped')", name="state"),
        sa.CheckConstraint("(state = 'taken') = (day IS NOT NULL AND epoch IS NOT NULL)", name="taken"),
        schema="caviar",
    )
    op.create_index("ix_nudge_study_id", "nudge", ["study_id"], schema="caviar")
