"""Optuna's tables: the part of Optuna 5's schema that Caviar reads and writes itself.

Optuna creates and owns these tables. They are declared here so that a trial, its slot and its epochs change in one
transaction with few statements, and so that `caviar status` need not import Optuna. A test compares the declarations
with Optuna's own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Double,
    Enum,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

metadata = MetaData(schema="public")

UTC_NOW = func.timezone("UTC", func.now())  # Optuna stores UTC without a zone
TRIAL_STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")

studies = Table(
    "studies",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("study_name", String(512), nullable=False),
)

study_directions = Table(
    "study_directions",
    metadata,
    Column("study_direction_id", Integer, primary_key=True),
    Column("direction", Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection"), nullable=False),
    Column("study_id", Integer, nullable=False),
    Column("objective", Integer, nullable=False),
)

study_user_attributes = Table("study_user_attributes", metadata, Column("study_id", Integer))
study_system_attributes = Table("study_system_attributes", metadata, Column("study_id", Integer))

trials = Table(
    "trials",
    metadata,
    Column("trial_id", Integer, primary_key=True),
    Column("number", Integer),
    Column("study_id", Integer),
    Column("state", Enum(*TRIAL_STATES, name="trialstate"), nullable=False),
    Column("datetime_start", DateTime),  # UTC, without a zone
    Column("datetime_complete", DateTime),  # UTC, without a zone
)

trial_params = Table(
    "trial_params",
    metadata,
    Column("param_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("param_name", String(512)),
    Column("param_value", Double),
    Column("distribution_json", Text),
)

trial_values = Table(
    "trial_values",
    metadata,
    Column("trial_value_id", Integer, primary_key=True),
    Column("trial_id", Integer, nullable=False),
    Column("objective", Integer, nullable=False),
    Column("value", Double),
    Column("value_type", Enum("FINITE", "INF_POS", "INF_NEG", name="trialvaluetype"), nullable=False),
)

trial_intermediate_values = Table(
    "trial_intermediate_values",
    metadata,
    Column("trial_intermediate_value_id", Integer, primary_key=True),
    Column("trial_id", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("intermediate_value", Double),
    Column(
        "intermediate_value_type",
        Enum("FINITE", "INF_POS", "INF_NEG", "NAN", name="trialintermediatevaluetype"),
        nullable=False,
    ),
)


def _attributes(name: str) -> Table:
    columns = (Column("trial_id", Integer), Column("key", String(512)), Column("value_json", Text))
    return Table(name, metadata, Column(f"{name.removesuffix('s')}_id", Integer, primary_key=True), *columns)


trial_user_attributes = _attributes("trial_user_attributes")
trial_system_attributes = _attributes("trial_system_attributes")
trial_heartbeats = Table("trial_heartbeats", metadata, Column("trial_id", Integer))

# In the order in which their rows may be deleted.
OF_A_TRIAL = (
    trial_params,
    trial_values,
    trial_intermediate_values,
    trial_user_attributes,
    trial_system_attributes,
    trial_heartbeats,
)
OF_A_STUDY = (study_directions, study_user_attributes, study_system_attributes)


def end_trial(connection: Connection, trial_id: int, state: str, value: float | None = None) -> bool:
    """End a trial, even if another Optuna program has ended it already: the result of its slot is what counts.

    Args:
        state: `COMPLETE`, `PRUNED` or `FAIL`.
        value: the objective's value, which may be infinite; None writes none.

    Returns:
        False if the trial no longer exists; nothing was written.
    """
    ended = update(trials).where(trials.c.trial_id == trial_id).values(state=state, datetime_complete=UTC_NOW)
    if not connection.execute(ended).rowcount:
        return False
    if value is not None:
        number, kind = stored_value(value)
        row = {"value": number, "value_type": kind}
        new = insert(trial_values).values(trial_id=trial_id, objective=0, **row)
        # Not DO UPDATE: a role that was granted its rights before version 0.2 may only insert.
        if not connection.execute(new.on_conflict_do_nothing(index_elements=["trial_id", "objective"])).rowcount:
            of_trial = (trial_values.c.trial_id == trial_id, trial_values.c.objective == 0)
            connection.execute(update(trial_values).where(*of_trial).values(**row))
    return True


def stored_value(value: float) -> tuple[float | None, str]:
    """Return a value as Optuna stores it, and the type that it stores: only finite values are stored as numbers."""
    if math.isfinite(value):
        return value, "FINITE"
    return None, "NAN" if math.isnan(value) else "INF_POS" if value > 0 else "INF_NEG"


def set_attributes(connection: Connection, table: str, trial_id: int, attributes: Mapping[str, Any]) -> None:
    """Write attributes of a trial to the table `trial_user_attributes` or `trial_system_attributes`."""
    statement = text(f"""
        INSERT INTO public.{table} (trial_id, key, value_json)
        SELECT :trial, key, value_json
        FROM unnest(CAST(:keys AS text[]), CAST(:jsons AS text[])) AS a (key, value_json)
        ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
    """)
    connection.execute(statement, {"trial": trial_id, **as_json(attributes)})


def as_json(attributes: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return attributes as two parallel lists, the parameters `keys` and `jsons` of a statement."""
    return {"keys": list(attributes), "jsons": [json.dumps(value) for value in attributes.values()]}
