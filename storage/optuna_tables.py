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

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from caviar.limits import TEXT
from caviar.text import shown

metadata = sa.MetaData(schema="public")

UTC_NOW = sa.func.timezone("UTC", sa.func.now())  # Optuna stores UTC without a zone
TRIAL_STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
FINISHED = ("COMPLETE", "PRUNED", "FAIL")

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study_id", sa.Integer, primary_key=True),
    sa.Column("study_name", sa.String(512), nullable=False),
)

study_directions = sa.Table(
    "study_directions",
    metadata,
    sa.Column("study_direction_id", sa.Integer, primary_key=True),
    sa.Column("direction", sa.Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection"), nullable=False),
    sa.Column("study_id", sa.Integer, nullable=False),
    sa.Column("objective", sa.Integer, nullable=False),
)

study_user_attributes = sa.Table("study_user_attributes", metadata, sa.Column("study_id", sa.Integer))
study_system_attributes = sa.Table(
    "study_system_attributes",
    metadata,
    sa.Column("study_system_attribute_id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.Integer),
    sa.Column("key", sa.String(512)),
    sa.Column("value_json", sa.Text),
)
METRIC_NAMES = "study:metric_names"  # the key of what Optuna's study.set_metric_names() writes

trials = sa.Table(
    "trials",
    metadata,
    sa.Column("trial_id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer),
    sa.Column("study_id", sa.Integer),
    sa.Column("state", sa.Enum(*TRIAL_STATES, name="trialstate"), nullable=False),
    sa.Column("datetime_start", sa.DateTime),  # UTC, without a zone
    sa.Column("datetime_complete", sa.DateTime),  # UTC, without a zone
)

trial_params = sa.Table(
    "trial_params",
    metadata,
    sa.Column("param_id", sa.Integer, primary_key=True),
    sa.Column("trial_id", sa.Integer),
    sa.Column("param_name", sa.String(512)),
    sa.Column("param_value", sa.Double),
    sa.Column("distribution_json", sa.Text),
)

trial_values = sa.Table(
    "trial_values",
    metadata,
    sa.Column("trial_value_id", sa.Integer, primary_key=True),
    sa.Column("trial_id", sa.Integer, nullable=False),
    sa.Column("objective", sa.Integer, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("value_type", sa.Enum("FINITE", "INF_POS", "INF_NEG", name="trialvaluetype"), nullable=False),
)

trial_intermediate_values = sa.Table(
    "trial_intermediate_values",
    metadata,
    sa.Column("trial_intermediate_value_id", sa.Integer, primary_key=True),
    sa.Column("trial_id", sa.Integer, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("intermediate_value", sa.Double),
    sa.Column(
        "intermediate_value_type",
        sa.Enum("FINITE", "INF_POS", "INF_NEG", "NAN", name="trialintermediatevaluetype"),
        nullable=False,
    ),
)


def _attributes(name: str) -> sa.Table:
    columns = (sa.Column("trial_id", sa.Integer), sa.Column("key", sa.String(512)), sa.Column("value_json", sa.Text))
    return sa.Table(name, metadata, sa.Column(f"{name.removesuffix('s')}_id", sa.Integer, primary_key=True), *columns)


trial_user_attributes = _attributes("trial_user_attributes")
trial_system_attributes = _attributes("trial_system_attributes")
trial_heartbeats = sa.Table("trial_heartbeats", metadata, sa.Column("trial_id", sa.Integer))

# The next number of a study's trials is their count. An earlier version gave a trial the number of its slot: where the
# count is such a number, the lowest that is free. The row of the study, `:optuna_study`, must be locked.
NEXT_NUMBER = """
    SELECT CASE WHEN coalesce(max(number), -1) < count(*) THEN count(*) ELSE (
        SELECT min(n) FROM generate_series(0, (SELECT count(*) FROM public.trials WHERE study_id = :optuna_study)) n
        WHERE n NOT IN (SELECT number FROM public.trials WHERE study_id = :optuna_study)) END AS next
    FROM public.trials WHERE study_id = :optuna_study
"""

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


# A row of trial_system_attributes is a constraint that is violated: its value, as JSON, is neither 0 nor below.
CONSTRAINT = "constraints:"
VIOLATED = rf"a.key LIKE '{CONSTRAINT}%' AND a.value_json !~ '^(-|0(\.0*)?$)'"
CONSTRAINT_NAME = f"substr(a.key, {len(CONSTRAINT) + 1})"


def end_trial(connection: sa.Connection, trial_id: int, state: str, value: float | None = None) -> bool:
    """End a trial that runs; the value, the objective's, may be infinite. NaN is no value: the table has none for it.

    Return False if another Optuna program has ended it already, or deleted it; nothing was written then.
    """
    running = (trials.c.trial_id == trial_id, trials.c.state == "RUNNING")
    ended = sa.update(trials).where(*running).values(state=state, datetime_complete=UTC_NOW)
    if not connection.execute(ended).rowcount:
        return False
    if value is not None and not math.isnan(value):
        number, kind = stored_value(value)
        row = {"trial_id": trial_id, "objective": 0, "value": number, "value_type": kind}
        given = insert(trial_values).values(**row)  # a program may have given it a value while it ran
        put = {"value": given.excluded.value, "value_type": given.excluded.value_type}
        connection.execute(given.on_conflict_do_update(index_elements=["trial_id", "objective"], set_=put))
    return True


def void_values(connection: sa.Connection, trial_id: int, after: int) -> None:
    """Take a trial's intermediate values behind a step away: they become NaN, which Optuna's tools leave out, since no
    worker may delete a row."""
    later = (trial_intermediate_values.c.trial_id == trial_id, trial_intermediate_values.c.step > after)
    nothing = {"intermediate_value": None, "intermediate_value_type": "NAN"}
    connection.execute(sa.update(trial_intermediate_values).where(*later).values(**nothing))


def stored_value(value: float) -> tuple[float | None, str]:
    """Return a value as Optuna stores it, and the type that it stores: only finite values are stored as numbers."""
    if math.isfinite(value):
        return value, "FINITE"
    return None, "NAN" if math.isnan(value) else "INF_POS" if value > 0 else "INF_NEG"


def set_attributes(connection: sa.Connection, table: str, trial_id: int, attributes: Mapping[str, Any]) -> None:
    """Write attributes of a trial to the table `trial_user_attributes` or `trial_system_attributes`."""
    statement = sa.text(f"""
        INSERT INTO public.{table} (trial_id, key, value_json)
        SELECT :trial, key, value_json
        FROM unnest(CAST(:keys AS text[]), CAST(:jsons AS text[])) AS a (key, value_json)
        ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
    """)
    connection.execute(statement, {"trial": trial_id, **as_json(attributes)})


def from_json(stored: str) -> Any:
    """Return the value of an attribute; its text where that is no JSON, since any program may have written it."""
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return stored


def plain_value(number: float, distribution: str) -> int | float | str:
    """Return the value of a hyperparameter by its own distribution, as Optuna's JSON: a number, or a choice as a text.

    A distribution that makes no sense leaves the number as it is: any program may have written it.
    """
    known = from_json(distribution)
    kind, of = (known.get("name"), known.get("attributes")) if isinstance(known, dict) else (None, None)
    try:
        if kind == "IntDistribution":
            return int(number)
        if kind == "CategoricalDistribution":
            return plain_choice(of["choices"][int(number)])  # type: ignore[index]
    except (LookupError, TypeError, ValueError, OverflowError):
        pass
    return number


def plain_choice(choice: Any) -> int | float | str:
    """Return one of Optuna's choices as a number or a text: None, True and False are texts."""
    return choice if isinstance(choice, int | float) and not isinstance(choice, bool) else shown(str(choice), TEXT)


def as_json(attributes: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return attributes as two parallel lists, the parameters `keys` and `jsons` of a statement."""
    return {"keys": list(attributes), "jsons": [json.dumps(value) for value in attributes.values()]}
