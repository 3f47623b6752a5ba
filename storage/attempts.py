"""Writes of a running trial that names its hyperparameters itself, each in a transaction that checks the lease."""

from __future__ import annotations

import json
from typing import Any, Literal

from sqlalchemy import Engine, text

from caviar.storage.errors import LeaseLost
from caviar.storage.records import Lease

_HELD = """
    WITH held AS (
        SELECT s.trial_id FROM caviar.slot s JOIN public.trials t ON t.trial_id = s.trial_id AND t.state = 'RUNNING'
        WHERE s.study_id = :study AND s.number = :slot AND s.token = :token FOR NO KEY UPDATE OF s
    )
"""
# Once more, after an answer that was lost, it is there already.
_PARAMETER = text(f"""
    {_HELD}, put AS (
        INSERT INTO public.trial_params (trial_id, param_name, param_value, distribution_json)
        SELECT trial_id, :name, :value, :kind FROM held ON CONFLICT (trial_id, param_name) DO NOTHING
    ) SELECT trial_id FROM held
""")
_ATTRIBUTE = {
    table: text(f"""
    {_HELD}, put AS (
        INSERT INTO public.{table} (trial_id, key, value_json) SELECT trial_id, :key, :value FROM held
        ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
    ) SELECT trial_id FROM held
""")
    for table in ("trial_user_attributes", "trial_system_attributes")
}


def write_parameter(engine: Engine, lease: Lease, name: str, value: float, kind: str) -> None:
    """Add a hyperparameter to the trial of a lease: its value in Optuna's internal form, and its distribution as JSON.

    Raises:
        LeaseLost: another worker has the slot, or another program ended the trial; nothing was written.
    """
    _write(engine, lease, _PARAMETER, name=name, value=value, kind=kind)


def write_attribute(engine: Engine, lease: Lease, of: Literal["user", "system"], key: str, value: Any) -> None:
    """Give the trial of a lease an attribute of Optuna's, in place of an earlier one of that name.

    Raises:
        LeaseLost: another worker has the slot, or another program ended the trial; nothing was written.
        TypeError: the value is none of JSON.
    """
    _write(engine, lease, _ATTRIBUTE[f"trial_{of}_attributes"], key=key, value=json.dumps(value))


def _write(engine: Engine, lease: Lease, statement: Any, **values: Any) -> None:
    key = {"study": lease.study_id, "slot": lease.slot.number, "token": lease.token}
    with engine.begin() as connection:
        if connection.execute(statement, {**key, **values}).scalar() is None:
            raise LeaseLost(lease.slot.number)
