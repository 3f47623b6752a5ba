"""Caviar's tables, in the schema `caviar`. Only the migrations make or change them.

A slot's life; `attempts` counts the leases, `losses` those that were lost in a row without a new epoch:

    open --lease--> leased --finish--> done
      ^               |
      +--- release ---+---- lost too often ----> abandoned
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
# Not Alembic's usual name: for a role called `caviar` this schema comes first in the search path, and Optuna
# would take an `alembic_version` in it for its own.
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
    # What the workers are asked to do. Whether a study is finished follows from its slots.
    Column("control", Text, nullable=False),
    Column("at_once", Boolean, nullable=False, server_default=false()),  # in the middle of an epoch
    _time("created_at"),
    CheckConstraint("control IN ('run', 'pause', 'stop')", "control"),
)

definition = Table(
    "definition",
    metadata,
    _study(),
    Column("version", Integer, primary_key=True),
    Column("body", JSON, nullable=False),  # not JSONB, which loses the order of the hyperparameters
    Column("packages", JSONB, nullable=False),  # package name: version, of the program that wrote it
    Column("code", Text),  # digest of the training code and the model's
    Column("data", Text),  # digest of the data set's files
    Column("changes", JSONB, nullable=False, server_default="[]"),  # a sentence each, against the version before
    _time("created_at"),
)

worker = Table(
    "worker",
    metadata,
    Column("worker_id", Uuid, primary_key=True),
    Column("study_id", Integer, ForeignKey("caviar.study.study_id", ondelete="CASCADE"), nullable=False),
    Column("host", Text, nullable=False),
    Column("machine", Text, nullable=False),  # boot and process namespace: where `pid` means this process
    Column("pid", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("packages", JSONB, nullable=False),
    _time("started_at"),
    _time("last_seen"),
    Column("ended_at", DateTime(timezone=True)),  # null for ever where it was killed
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
    Column("kill", Boolean, nullable=False, server_default=false()),  # somebody asks to end its trial
    Column("trial_id", Integer, unique=True),  # Optuna's; null until the trial's values are chosen
    Column("epoch", Integer, nullable=False, server_default="0"),  # epochs written
    Column("token", Uuid),  # who holds the lease; every write of a worker must show it
    Column("expires_at", DateTime(timezone=True)),
    Column("worker_id", Uuid, ForeignKey("caviar.worker.worker_id", ondelete="SET NULL")),
    CheckConstraint("state IN ('open', 'leased', 'done', 'abandoned')", "state"),
    CheckConstraint("(state = 'leased') = (token IS NOT NULL AND expires_at IS NOT NULL)", "lease"),
    # Of a long study most slots are spent; workers look at the others only.
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
    Column("address", Text),  # of a file that holds the state instead
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
    Column(
        "study_id",
        Integer,
        ForeignKey("caviar.study.study_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    _time("at"),
    Column("kind", Text, nullable=False),
    Column("slot", Integer),
    Column("worker_id", Uuid),
    Column("detail", JSONB, nullable=False),
)

# A study whose trials are the days of one model; the number of a day is its slot's and its trial's. Day 0 is its birth.
panda = Table(
    "panda",
    metadata,
    _study(),
    Column("head", Integer, nullable=False),  # the day that is trained now, or that the next one builds on
    Column("day_epochs", Integer),  # how long a day is: epochs, or
    Column("day_seconds", Double),
    Column("keeps_all", Boolean, nullable=False),  # the checkpoints of abandoned branches too
    Column("seed_number", Integer, nullable=False),  # of the trial whose random numbers it draws
    Column("origin", JSONB),  # the study and trial whose weights it was born with
    CheckConstraint("(day_epochs IS NULL) <> (day_seconds IS NULL)", "day"),
)

day = Table(
    "day",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("parent", Integer),  # null for the birth
    Column("begins_at", Integer, nullable=False),  # the last epoch before it
    Column("settings", JSON, nullable=False),  # that it begins with
    Column("decay_from", Integer, nullable=False),  # the epoch that the decay of the learning rate is counted from
    Column("epochs", Integer),  # of a look of another length than the panda's days
    Column("is_look", Boolean, nullable=False),  # one of several candidates
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
    Column("day", Integer),  # in which it took effect, and
    Column("epoch", Integer),  # the last epoch that was trained before it
    CheckConstraint("state IN ('waiting', 'taken', 'dropped')", "state"),
    CheckConstraint("(state = 'taken') = (day IS NOT NULL AND epoch IS NOT NULL)", "taken"),
)
