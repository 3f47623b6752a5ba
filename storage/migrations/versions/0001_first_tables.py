"""Create Caviar's tables: studies, definitions, workers, slots, epochs, checkpoints, test results and events.

Revisions are numbered 0001, 0002, ... in one line. A migration imports nothing of Caviar: it must mean the same
in a year. It runs in one transaction, while `caviar db upgrade` holds the advisory lock of storage/migrate.py.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "study",
        sa.Column("study_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("optuna_study_id", sa.Integer(), nullable=False),
        sa.Column("control", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("control IN ('run', 'pause')", name=op.f("ck_study_control")),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_study")),
        sa.UniqueConstraint("name", name=op.f("uq_study_name")),
        sa.UniqueConstraint("optuna_study_id", name=op.f("uq_study_optuna_study_id")),
        schema="caviar",
    )
    op.create_table(
        "definition",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("packages", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["caviar.study.study_id"], name=op.f("fk_definition_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "version", name=op.f("pk_definition")),
        schema="caviar",
    )
    op.create_table(
        "event",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["caviar.study.study_id"], name=op.f("fk_event_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event")),
        schema="caviar",
    )
    op.create_index(op.f("ix_event_study_id"), "event", ["study_id"], unique=False, schema="caviar")
    op.create_table(
        "worker",
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("packages", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["caviar.study.study_id"], name=op.f("fk_worker_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("worker_id", name=op.f("pk_worker")),
        schema="caviar",
    )
    op.create_table(
        "slot",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tier", sa.SmallInteger(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("free", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("token", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(state = 'leased') = (token IS NOT NULL AND expires_at IS NOT NULL)", name=op.f("ck_slot_lease")
        ),
        sa.CheckConstraint("state IN ('open', 'leased', 'done')", name=op.f("ck_slot_state")),
        sa.ForeignKeyConstraint(
            ["study_id"], ["caviar.study.study_id"], name=op.f("fk_slot_study_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["worker_id"], ["caviar.worker.worker_id"], name=op.f("fk_slot_worker_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("study_id", "number", name=op.f("pk_slot")),
        sa.UniqueConstraint("trial_id", name=op.f("uq_slot_trial_id")),
        schema="caviar",
    )
    op.create_table(
        "checkpoint",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "slot"],
            ["caviar.slot.study_id", "caviar.slot.number"],
            name=op.f("fk_checkpoint_study_id_slot"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("study_id", "slot", name=op.f("pk_checkpoint")),
        schema="caviar",
    )
    op.create_table(
        "epoch",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("training_loss", sa.Double(), nullable=False),
        sa.Column("validation_loss", sa.Double(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=False),
        sa.Column("learning_rate", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "slot"],
            ["caviar.slot.study_id", "caviar.slot.number"],
            name=op.f("fk_epoch_study_id_slot"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("study_id", "slot", "epoch", name=op.f("pk_epoch")),
        schema="caviar",
    )
    op.create_table(
        "test_result",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("loss", sa.Double(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id", "slot"],
            ["caviar.slot.study_id", "caviar.slot.number"],
            name=op.f("fk_test_result_study_id_slot"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("study_id", "slot", name=op.f("pk_test_result")),
        schema="caviar",
    )
