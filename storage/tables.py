"""Caviar's tables, in the schema `caviar`. Only migrations create or change them.

The states of a slot are drawn in storage/states.py. A slot's `attempts` counts its leases, and `losses` the leases that
were lost in a row without a new epoch.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "caviar"
# Not Alembic's default name: a role called `caviar` has this schema first in its search path, and Optuna would take an
# `alembic_version` there for its own.
VERSION_TABLE = "schema_version"

metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
)


def _time(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _study(**options: Any) -> sa.Column[int]:
    owner = sa.ForeignKey("caviar.study.study_id", ondelete="CASCADE")
    return sa.Column("study_id", sa.Integer, owner, **(options or {"primary_key": True}))


def _of_slot(number: str = "slot") -> tuple[sa.schema.SchemaItem, ...]:
    """Return the key of a table of slots, or of something of each slot."""
    owner = ["caviar.slot.study_id", "caviar.slot.number"]
    columns = [sa.Column(name, sa.Integer, primary_key=True) for name in ("study_id", number)]
    return *columns, sa.ForeignKeyConstraint(["study_id", number], owner, ondelete="CASCADE")


study = sa.Table(
    "study",
    metadata,
    sa.Column("study_id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("optuna_study_id", sa.Integer, nullable=False, unique=True),
    # What the workers shall do. Whether a study is finished follows from its slots.
    sa.Column("control", sa.Text, nullable=False),
    sa.Column("at_once", sa.Boolean, nullable=False, server_default=sa.false()),  # interrupt the current epoch
    _time("created_at"),
    sa.Column("tester", sa.Uuid),  # the process that measures the winner on the test set, which has until then to do so
    sa.Column("tester_until", sa.DateTime(timezone=True)),
    sa.CheckConstraint("control IN ('run', 'pause', 'stop')", "control"),
)

definition = sa.Table(
    "definition",
    metadata,
    _study(),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("body", sa.JSON, nullable=False),  # not JSONB, which loses the order of the hyperparameters
    sa.Column("packages", JSONB, nullable=False),  # version by package, of the program that wrote it
    sa.Column("code", sa.Text),  # digest of Caviar's training code; where `files` is null, of the model's too
    sa.Column("data", sa.Text),  # digest of the data set's files
    sa.Column("changes", JSONB, nullable=False, server_default="[]"),  # a sentence each, on the previous version
    _time("created_at"),
    sa.Column("files", JSONB),  # digest by path, of the user's code; null where an older program wrote the row
    sa.Column("commit", sa.Text),  # of the repository that they are in, and
    sa.Column("remote", sa.Text),  # its address
)

worker = sa.Table(
    "worker",
    metadata,
    sa.Column("worker_id", sa.Uuid, primary_key=True),
    _study(nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("machine", sa.Text, nullable=False),  # boot and process namespace, in which `pid` is valid
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("packages", JSONB, nullable=False),
    _time("started_at"),
    _time("last_seen"),
    sa.Column("ended_at", sa.DateTime(timezone=True)),  # stays null if it was killed
    sa.Column("job", sa.Text),  # of a scheduler, such as 123_4
    sa.Column("leave", sa.Boolean, nullable=False, server_default=sa.false()),  # it shall leave after its epoch
)

slot = sa.Table(
    "slot",
    metadata,
    _study(),
    sa.Column("number", sa.Integer, primary_key=True),  # also the trial's for Caviar; Optuna gives it one of its own
    sa.Column("tier", sa.SmallInteger, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("free", sa.ARRAY(sa.Text), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("losses", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("kill", sa.Boolean, nullable=False, server_default=sa.false()),  # its worker shall end the trial
    sa.Column("trial_id", sa.Integer, unique=True),  # Optuna's; null until the trial's values are chosen
    sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),  # epochs written
    sa.Column("token", sa.Uuid),  # identifies the lease; every write of a worker checks it
    sa.Column("expires_at", sa.DateTime(timezone=True)),
    sa.Column("worker_id", sa.Uuid, sa.ForeignKey("caviar.worker.worker_id", ondelete="SET NULL")),
    sa.CheckConstraint("state IN ('open', 'leased', 'done', 'abandoned', 'ended elsewhere')", "state"),
    sa.CheckConstraint("(state = 'leased') = (token IS NOT NULL AND expires_at IS NOT NULL)", "lease"),
    # Most slots of a long study are spent; workers read only the others.
    sa.Index("ix_slot_unspent", "study_id", "number", postgresql_where=sa.text("state IN ('open', 'leased')")),
)


epoch = sa.Table(
    "epoch",
    metadata,
    *_of_slot(),
    sa.Column("epoch", sa.Integer, primary_key=True),  # 1 is the first
    sa.Column("metrics", JSONB, nullable=False),  # numbers by name, as `caviar.epoch.to_document` writes them
    sa.Column("seconds", sa.Double, nullable=False),
)

checkpoint = sa.Table(
    "checkpoint",
    metadata,
    *_of_slot(),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),  # SHA-256 of the state, in hexadecimal
    sa.Column("state", sa.LargeBinary),
    sa.Column("address", sa.Text),  # of the file that holds the state otherwise
    _time("saved_at"),
    sa.CheckConstraint("(state IS NULL) <> (address IS NULL)", "place"),
)

test_result = sa.Table(
    "test_result",
    metadata,
    *_of_slot(),
    sa.Column("metrics", JSONB, nullable=False),  # of the test set, as those of an epoch
    _time("measured_at"),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("event_id", sa.BigInteger, sa.Identity(), primary_key=True),
    _study(nullable=False, index=True),
    _time("at"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("slot", sa.Integer),
    sa.Column("worker_id", sa.Uuid),
    sa.Column("detail", JSONB, nullable=False),
)

# A panda is a study whose trials are the days of one model. A day has the number of its slot and trial; day 0 is the
# birth.
panda = sa.Table(
    "panda",
    metadata,
    _study(),
    sa.Column("head", sa.Integer, nullable=False),  # the day that is trained now, or that the next day builds on
    sa.Column("day_epochs", sa.Integer),  # the length of a day in epochs, or
    sa.Column("day_seconds", sa.Double),
    sa.Column("keeps_all", sa.Boolean, nullable=False),  # whether to keep the checkpoints of abandoned branches too
    sa.Column("seed_number", sa.Integer, nullable=False),  # number of the trial whose random numbers it draws
    sa.Column("origin", JSONB),  # the study and trial whose weights it began with
    sa.CheckConstraint("(day_epochs IS NULL) <> (day_seconds IS NULL)", "day"),
)

day = sa.Table(
    "day",
    metadata,
    *_of_slot("number"),
    sa.Column("parent", sa.Integer),  # null for the birth
    sa.Column("begins_at", sa.Integer, nullable=False),  # the last epoch before it
    sa.Column("settings", sa.JSON, nullable=False),  # at its begin
    sa.Column("decay_from", sa.Integer, nullable=False),  # the epoch from which the decay of the learning rate counts
    sa.Column("epochs", sa.Integer),  # of a candidate whose length is not the panda's
    sa.Column("is_look", sa.Boolean, nullable=False),  # one of several candidates for the next day
)

nudge = sa.Table(
    "nudge",
    metadata,
    sa.Column("nudge_id", sa.BigInteger, sa.Identity(), primary_key=True),
    _study(nullable=False, index=True),
    _time("at"),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("why", sa.Text),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
    sa.Column("day", sa.Integer),  # the day in which it took effect, and
    sa.Column("epoch", sa.Integer),  # the last epoch before that
    sa.CheckConstraint("state IN ('waiting', 'taken', 'dropped')", "state"),
    sa.CheckConstraint("(state = 'taken') = (day IS NOT NULL AND epoch IS NOT NULL)", "taken"),
)
