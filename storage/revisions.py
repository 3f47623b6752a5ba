"""Versions of a study's definition: a new one is written with all its consequences in one transaction.

Optuna's tables are adapted. A range that became wider becomes the range of all earlier trials, since samplers compare
only trials with equal distributions. A new hyperparameter is added to every earlier trial, with the value that it had
without being searched.

A slot whose trial has not begun is taken back from its worker: it gets its place in the new plan, and values that were
chosen by the old definition can no longer be written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from caviar.storage import optuna_tables as optuna
from caviar.storage.definitions import add_slots, add_version
from caviar.storage.events import log_event
from caviar.storage.ledger import GIVEN_BACK
from caviar.storage.records import DefinitionRecord, Provenance, Slot, StudyRecord, provenance_of_row
from caviar.storage.states import EventKind, SlotState
from caviar.storage.tables import definition, slot, study
from caviar.storage.who import current_user

Parameters = Mapping[str, tuple[float, str]]  # by name: the value as Optuna stores it, and the distribution's JSON
Rewrite = Callable[[Parameters], tuple[Parameters, Mapping[str, Any]]]


def read_versions(engine: Engine, study_id: int) -> list[DefinitionRecord]:
    """Return all versions of a study's definition, oldest first."""
    query = select(definition).where(definition.c.study_id == study_id).order_by(definition.c.version)
    with engine.connect() as connection:
        return [
            DefinitionRecord(r.version, r.body, provenance_of_row(r), tuple(r.changes), r.created_at)
            for r in connection.execute(query)
        ]


def revise_study(
    engine: Engine,
    record: StudyRecord,
    body: Mapping[str, Any],
    provenance: Provenance,
    changes: Sequence[str],
    slots: Sequence[Slot],
    rewrite: Rewrite | None = None,
) -> bool:
    """Write the next version of a study's definition. Workers that know an older one can lease nothing from then on.

    Args:
        record: the study, with the version that the new one was compared with.
        changes: what changed, a sentence each.
        slots: the whole plan of the new definition. Slots that have not begun take their place in it; those beyond the
            present budget are added.
        rewrite: maps the parameters of an earlier trial, as Optuna stores them, to those of the new definition, and to
            user attributes that explain them; None if they stay as they are.

    Returns:
        False if another process wrote a version or deleted the study meanwhile; nothing was changed.
    """
    with engine.begin() as connection:
        if not _is_current(connection, record):
            return False
        _write(connection, record, body, provenance, changes, slots)
        if rewrite is not None:
            _rewrite(connection, record.study_id, rewrite)
    return True


def shorten_study(
    engine: Engine, record: StudyRecord, body_of: Callable[[int], Mapping[str, Any]],
    slots_of: Callable[[int], Sequence[Slot]], least: int, rule: str, why: str,
) -> bool:  # fmt: skip
    """Write a version of a study's definition whose budget ends with the last trial that has begun.

    Args:
        body_of: returns the new definition, given its budget.
        slots_of: returns the plan of that budget.
        least: the smallest budget that the definition can have.
        rule: the rule of the present definition by which it ends; the new one has none.
        why: why no more trials are worth it.

    Returns:
        False if all trials have begun, or too few for the definition, or another process wrote a version or deleted the
        study meanwhile; nothing was changed.
    """
    with engine.begin() as connection:
        if not _is_current(connection, record):
            return False
        begun = select(func.max(slot.c.number)).where(slot.c.study_id == record.study_id, slot.c.trial_id.is_not(None))
        all_ = select(func.count()).where(slot.c.study_id == record.study_id)
        budget = 1 + (connection.scalar(begun) or 0)
        before = connection.scalar(all_) or 0
        if not least <= budget < before:
            return False
        connection.execute(delete(slot).where(slot.c.study_id == record.study_id, slot.c.number >= budget))
        log_event(connection, record.study_id, EventKind.ENDED_EARLY, budget=budget, before=before, why=why, rule=rule)
        changes = [f"budget: {before} before, {budget} now", f"until: {rule} before, budget now"]
        _write(connection, record, body_of(budget), record.provenance, changes, slots_of(budget))
    return True


def _is_current(connection: Connection, record: StudyRecord) -> bool:
    """Lock a study's definition; return whether its version is still that of a record."""
    # A worker that begins a trial takes the same lock, so it is either done before this goes on, or waits.
    only = select(study.c.study_id).where(study.c.study_id == record.study_id)
    connection.execute(only.with_for_update(key_share=True))
    versions = select(func.max(definition.c.version)).where(definition.c.study_id == record.study_id)
    return bool(connection.scalar(versions) == record.version)


def _write(
    connection: Connection, record: StudyRecord, body: Mapping[str, Any], provenance: Provenance,
    changes: Sequence[str], slots: Sequence[Slot],
) -> None:  # fmt: skip
    """Write the next version of a definition and its plan."""
    next_ = record.version + 1
    add_version(connection, record.study_id, next_, body, provenance, changes)
    _plan_again(connection, record.study_id, slots)
    detail: dict[str, Any] = {"version": next_, "changes": list(changes), "by": current_user()}
    log_event(connection, record.study_id, EventKind.DEFINITION_CHANGED, **detail)


def _plan_again(connection: Connection, study_id: int, slots: Sequence[Slot]) -> None:
    there = connection.scalar(select(func.count()).where(slot.c.study_id == study_id)) or 0
    unspent = (slot.c.state == SlotState.OPEN) | (slot.c.state == SlotState.LEASED)
    # A worker that waits to begin its trial has read the old version; without its token it can write nothing.
    moved = (
        update(slot)
        .where(slot.c.study_id == study_id, slot.c.number == bindparam("at"), unspent, slot.c.trial_id.is_(None))
        .values(tier=bindparam("in_tier"), phase=bindparam("in_phase"), free=bindparam("to_vary"), **GIVEN_BACK)
    )
    rows = [{"at": s.number, "in_tier": s.tier, "in_phase": s.phase, "to_vary": list(s.free)} for s in slots[:there]]
    if rows:
        connection.execute(moved, rows)
    add_slots(connection, study_id, slots[there:])


def _rewrite(connection: Connection, study_id: int, rewrite: Rewrite) -> None:
    params = optuna.trial_params
    query = (
        select(params.c.trial_id, params.c.param_name, params.c.param_value, params.c.distribution_json)
        .join(slot, slot.c.trial_id == params.c.trial_id)  # leaves out trials of other Optuna programs
        .where(slot.c.study_id == study_id)
        .order_by(params.c.param_id)
    )
    of_trials: dict[int, dict[str, tuple[float, str]]] = {}
    for trial_id, name, value, kind in connection.execute(query):
        of_trials.setdefault(trial_id, {})[name] = value, kind
    rows, attributes = [], []
    for trial_id, stored in of_trials.items():
        parameters, values = rewrite(stored)
        rows += [
            {"trial_id": trial_id, "param_name": name, "param_value": value, "distribution_json": kind}
            for name, (value, kind) in parameters.items()
        ]
        attributes += [{"trial_id": trial_id, "key": name, "value_json": json.dumps(v)} for name, v in values.items()]
    if rows:
        connection.execute(delete(params).where(params.c.trial_id.in_(of_trials)))
        connection.execute(insert(params), rows)
    if attributes:  # an attribute that exists says what was trained
        connection.execute(upsert(optuna.trial_user_attributes).on_conflict_do_nothing(), attributes)
