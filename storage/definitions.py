"""Studies: registered once with all their slots, read by every worker, and deleted as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, text

from caviar.limits import STUDY_NAME
from caviar.storage import optuna_tables as optuna
from caviar.storage.checkpoints import remove_files
from caviar.storage.errors import ForeignStudy, StudyDeleted, StudyInUse, StudyNotFound
from caviar.storage.events import log_event
from caviar.storage.records import Provenance, Slot, StudyRecord, label_of, provenance_of_row
from caviar.storage.states import Control, EventKind, SlotState
from caviar.storage.tables import checkpoint, definition, slot, study
from caviar.storage.waiting import patiently
from caviar.storage.who import current_user
from caviar.suggestions import did_you_mean
from caviar.text import shown


def find_study(engine: Engine, name: str) -> StudyRecord | None:
    """Return the study of that name with its current definition, or None.

    Raises:
        StudyDeleted: another Optuna program deleted its trials.
    """
    if not re.fullmatch(STUDY_NAME, name):  # such as a NUL, which PostgreSQL takes in no text
        return None
    query = (
        select(study, definition, optuna.studies.c.study_id.is_(None).label("deleted"))
        .join(definition, definition.c.study_id == study.c.study_id)
        .outerjoin(optuna.studies, optuna.studies.c.study_id == study.c.optuna_study_id)
        .where(study.c.name == name)
        .order_by(definition.c.version.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.deleted:
        raise StudyDeleted(name)
    return StudyRecord(
        row.study_id, row.optuna_study_id, row.name, Control(row.control), row.version, row.body,
        provenance_of_row(row), row.created_at,
    )  # fmt: skip


def study_names(engine: Engine) -> list[str]:
    """Return the names of all studies in alphabetical order."""
    with engine.connect() as connection:
        there = select(study.c.name).join(optuna.studies, optuna.studies.c.study_id == study.c.optuna_study_id)
        return list(connection.scalars(there.order_by(study.c.name)))


def load_studies(engine: Engine) -> list[StudyRecord]:
    """Return all studies in alphabetical order of their names."""
    records = []
    for name in study_names(engine):
        with suppress(StudyDeleted):  # since the names were read
            records.append(find_study(engine, name))
    return [record for record in records if record is not None]


def load_study(engine: Engine, name: str) -> StudyRecord:
    """Return the study of that name.

    Raises:
        StudyNotFound: the database has no such study; the message suggests names.
        StudyDeleted: another Optuna program deleted its trials.
    """
    record = find_study(engine, name)
    if record is None:
        names = study_names(engine)
        there = f"there are: {', '.join(names)}" if names else "there are none yet; begin one with: caviar run STUDY"
        if name.endswith(".py") or ":" in name:
            begin = f"give the study's name, not where it is defined, from which caviar run {shown(name)} begins it"
            there = f"{begin}; {there}" if names else begin
        raise StudyNotFound(f"no study '{shown(name)}' in the database; {did_you_mean(name, names)}{there}")
    return record


def register_study(
    engine: Engine,
    name: str,
    *,
    metric: str,
    maximize: bool,
    body: Mapping[str, Any],
    provenance: Provenance,
    slots: Sequence[Slot],
    also: Callable[[Connection, int], None] | None = None,
) -> StudyRecord:
    """Create a study, its Optuna study and all its slots in one transaction, or return the study if it exists.

    Any number of processes may call this at once: one creates the study, the others get it. `also` is called with the
    connection and the new study's id, to write more in the same transaction. Optuna's study gets the metric's name,
    as by its own `set_metric_names`, for the axes of its pictures.

    Raises:
        ForeignStudy: Optuna's tables hold a study of that name that Caviar did not create.
    """
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('caviar.study'), hashtext(:n))"), {"n": name})
        if connection.scalar(select(study.c.study_id).where(study.c.name == name)) is None:
            if connection.scalar(select(optuna.studies.c.study_id).where(optuna.studies.c.study_name == name)):
                raise ForeignStudy(
                    f"Optuna's tables hold a study '{name}' that Caviar did not create; "
                    f"run yours under another name: --name {name}-2"
                )
            optuna_id = connection.scalar(
                insert(optuna.studies).values(study_name=name).returning(optuna.studies.c.study_id)
            )
            connection.execute(
                insert(optuna.study_directions).values(
                    study_id=optuna_id, objective=0, direction="MAXIMIZE" if maximize else "MINIMIZE"
                )
            )
            connection.execute(
                insert(optuna.study_system_attributes).values(
                    study_id=optuna_id, key=optuna.METRIC_NAMES, value_json=json.dumps([metric])
                )
            )
            study_id = connection.scalar(
                insert(study)
                .values(name=name, optuna_study_id=optuna_id, control=Control.RUN)
                .returning(study.c.study_id)
            )
            add_version(connection, study_id, 1, body, provenance)
            add_slots(connection, study_id, slots)
            if also is not None:
                also(connection, study_id)
            log_event(connection, study_id, EventKind.CREATED, budget=len(slots), by=current_user())
    return load_study(engine, name)


def add_version(
    connection: Connection,
    study_id: int,
    version: int,
    body: Mapping[str, Any],
    provenance: Provenance,
    changes: Sequence[str] = (),
) -> None:
    """Write a version of a study's definition; `changes` are sentences on how it differs from the previous one."""
    values = {"body": dict(body), "changes": list(changes), **vars(provenance)}
    connection.execute(insert(definition).values(study_id=study_id, version=version, **values))


def add_slots(connection: Connection, study_id: int, slots: Sequence[Slot]) -> None:
    """Add open slots to a study."""
    rows = [{"study_id": study_id, "state": SlotState.OPEN, **vars(s), "free": list(s.free)} for s in slots]
    if rows:
        connection.execute(insert(slot), rows)


def delete_study(engine: Engine, record: StudyRecord) -> None:
    """Delete a study with all its trials, Optuna's too, in one transaction, and then its checkpoint files.

    Raises:
        StudyInUse: workers hold leases of its slots; nothing was deleted.
    """
    _delete(engine, record.name, record.label, record.study_id, record.optuna_study_id)


def delete_remains(engine: Engine, name: str) -> None:
    """Delete what Caviar still has of a study whose trials another Optuna program deleted.

    Raises:
        StudyNotFound: nothing is left of it.
        StudyInUse: a worker has not noticed the deletion yet; nothing was deleted.
    """
    with engine.connect() as connection:
        row = connection.execute(select(study).where(study.c.name == name)).one_or_none()
    if row is None:
        raise StudyNotFound(f"no study '{name}' in the database")
    _delete(engine, name, label_of(name, row.created_at), row.study_id, row.optuna_study_id)


def is_caviars(engine: Engine, optuna_study_id: int | None, trial_id: int | None) -> bool:
    """Return True if a study of Optuna's, or the study of a trial, has these ids and is Caviar's."""
    of_trial = select(optuna.trials.c.study_id).where(optuna.trials.c.trial_id == trial_id)
    own = (study.c.optuna_study_id == optuna_study_id) | study.c.optuna_study_id.in_(of_trial)
    with engine.connect() as connection:
        return connection.scalar(select(study.c.study_id).where(own).limit(1)) is not None


def _delete(engine: Engine, name: str, label: str, study_id: int, optuna_study_id: int) -> None:
    trial_ids = select(optuna.trials.c.trial_id).where(optuna.trials.c.study_id == optuna_study_id)
    busy = select(func.count()).where(
        slot.c.study_id == study_id, slot.c.state == SlotState.LEASED, slot.c.expires_at >= func.now()
    )
    with patiently(), engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # there may be many rows
        # In the order in which a worker locks them when it begins a trial: the study's row, then its slots.
        connection.execute(select(study.c.study_id).where(study.c.study_id == study_id).with_for_update())
        connection.execute(select(slot.c.number).where(slot.c.study_id == study_id).with_for_update())
        leased = connection.scalar(busy)
        if leased:
            raise StudyInUse(f"{leased} trial(s) of '{name}' are being trained; stop the workers (Ctrl-C) first")
        files = connection.scalars(select(checkpoint.c.address).where(checkpoint.c.study_id == study_id)).all()
        connection.execute(delete(study).where(study.c.study_id == study_id))
        for table in optuna.OF_A_TRIAL:
            connection.execute(delete(table).where(table.c.trial_id.in_(trial_ids)))
        for table in (optuna.trials, *optuna.OF_A_STUDY, optuna.studies):
            connection.execute(delete(table).where(table.c.study_id == optuna_study_id))
    remove_files(engine, label, files)
