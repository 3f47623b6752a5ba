"""Caviar's tables, in the schema `caviar`. Only migrations create or change them.

The states of a slot are drawn in storage/states.py. A slot's `attempts` counts its leases, and `losses` the leases that
were lost in a row without a new epoch.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "caviar"
# Not Alembic's default name: a role called `caviar` has this schema first in its search path, and Optuna would take an
# `alembic_version` there for its own.
VERSION_TABLE = "schema_version"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)


def _time(name: str) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _study() -> Column[int]:
    return Column("study_id", Integer, ForeignKey("caviar.study.study_id", ondelete="CASCADE"), primary_key=True)


study = Table(
    "study",
    metadata,
    Column("study_id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("optuna_study_id", Integer, nullable=False, unique=True),
    # What the workers shall do. Whether a study is finished follows from its slots.
    Column("control", Text, nullable=False),
    Column("at_once", Boolean, nullable=False, server_default=false()),  # interrupt the current epoch
    _time("created_at"),
    CheckConstraint("control IN ('run', 'pause', 'stop')", "control"),
)

definition = Table(
    "definition",
    metadata,
    _study(),
    Column("version", Integer, primary_key=True),
    Column("body", JSON, nullable=False),  # not JSONB, which loses the order of the hyperparameters
    Column("packages", JSONB, nullable=False),  # version by package, of the program that wrote it
    Column("code", Text),  # digest of the training code and the model's
    Column("data", Text),  # digest of the data set's files
    Column(
        "changes", JSONB, nullable=False, server_default="[]"
    ),  # a sentence each, compared with the previous version
    _time("created_at"),
)

worker = Table(
    "worker",
    metadata,
    Column("worker_id", Uuid, primary_key=True),
    Column("study_id", Integer, ForeignKey("caviar.study.study_id", ondelete="CASCADE"), nullable=False),
    Column("host", Text, nullable=False),
    Column("machine", Text, nullable=False),  # boot and process namespace, in which `pid` is valid
    Column("pid", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("packages", JSONB, nullable=False),
    _time("started_at"),
    _time("last_seen"),
    Column("ended_at", DateTime(timezone=True)),  # stays null if it was killed
)

slot = Table(
    "slot",
    metadata,
    _study(),
    Column("number", Integer, primary_key=True),  # also the number of the slot's trial in Optuna
    Column("tier", SmallInteger, nullable=False),
    Column("phase", Text, nullable=False),
    Column("free", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("losses", SmallInteger, nullable=False, server_default="0"),
    Column("kill", Boolean, nullable=False, server_default=false()),  # its worker shall end the trial
    Column("trial_id", Integer, unique=True),  # Optuna's; null until the trial's values are chosen
    Column("epoch", Integer, nullable=False, server_default="0"),  # epochs written
    Column("token", Uuid),  # identifies the lease; every write of a worker checks it
    Column("expires_at", DateTime(timezone=True)),
    Column("worker_id", Uuid, ForeignKey("caviar.worker.worker_id", ondelete="SET NULL")),
    CheckConstraint("state IN ('open', 'leased', 'done', 'abandoned')", "state"),
    CheckConstraint("(state = 'leased') = (token IS NOT NULL AND expires_at IS NOT NULL)", "lease"),
    # Most slots of a long study are spent; workers read only the others.
    Index("ix_slot_unspent", "study_id", "number", postgresql_where=text("state IN ('open', 'leased')")),
)


def _of_slot() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["study_id", "slot"], ["caviar.slot.study_id", "caviar.slot.number"], ondelete="CASCADE"
    )


epoch = Table(
    "epoch",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("epoch", Integer, primary_key=True),  # 1 is the first
    Column("training_loss", Double, nullable=False),
    Column("validation_loss", Double, nullable=False),
    Column("accuracy", Double, nullable=False),  # of the validation set, 0 to 1
    Column("learning_rate", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    _of_slot(),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("digest", Text, nullable=False),  # SHA-256 of the state, in hexadecimal
    Column("state", LargeBinary),
    Column("address", Text),  # of the file that holds the state otherwise
    _time("saved_at"),
    CheckConstraint("(state IS NULL) <> (address IS NULL)", "place"),
    _of_slot(),
)

test_result = Table(
    "test_result",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("loss", Double, nullable=False),
    Column("accuracy", Double, nullable=False),  # of the test set, 0 to 1
    _time("measured_at"),
    _of_slot(),
)

event = Table(
    "event",
    metadata,
    Column("event_id", BigInteger, Identity(), primary_key=True),
    Column("study_id", Integer, ForeignKey("caviar.study.study_id", ondelete="CASCADE"), nullable=False, index=True),
    _time("at"),
    Column("kind", Text, nullable=False),
    Column("slot", Integer),
    Column("worker_id", Uuid),
    Column("detail", JSONB, nullable=False),
)

# A panda is a study whose trials are the days of one model. A day has the number of its slot and trial; day 0 is the
# birth.
panda = Table(
    "panda",
    metadata,
    _study(),
    Column("head", Integer, nullable=False),  # the day that is trained now, or that the next day builds on
    Column("day_epochs", Integer),  # the length of a day in epochs, or
    Column("day_seconds", Double),
    Column("keeps_all", Boolean, nullable=False),  # whether to keep the checkpoints of abandoned branches too
    Column("seed_number", Integer, nullable=False),  # number of the trial whose random numbers it draws
    Column("origin", JSONB),  # the study and trial whose weights it began with
    CheckConstraint("(day_epochs IS NULL) <> (day_seconds IS NULL)", "day"),
)

day = Table(
    "day",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("parent", Integer),  # null for the birth
    Column("begins_at", Integer, nullable=False),  # the last epoch before it
    Column("settings", JSON, nullable=False),  # at its begin
    Column("decay_from", Integer, nullable=False),  # the epoch from which the decay of the learning rate counts
    Column("epochs", Integer),  # of a candidate whose length is not the panda's
    Column("is_look", Boolean, nullable=False),  # one of several candidates for the next day
    ForeignKeyConstraint(["study_id", "number"], ["caviar.slot.study_id", "caviar.slot.number"], ondelete="CASCADE"),
)

nudge = Table(
    "nudge",
    metadata,
    Column("nudge_id", BigInteger, Identity(), primary_key=True),
    Column("study_id", Integer, ForeignKey("caviar.study.study_id", ondelete="CASCADE"), nullable=False, index=True),
    _time("at"),
    Column("settings", JSON, nullable=False),
    Column("why", Text),
    Column("by", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("day", Integer),  # the day in which it took effect, and
    Column("epoch", Integer),  # the last epoch before that
    CheckConstraint("state IN ('waiting', 'taken', 'dropped')", "state"),
    CheckConstraint("(state = 'taken') = (day IS NOT NULL AND epoch IS NOT NULL)", "taken"),
)
