"""Learning curves: the epochs of one trial or of a whole study, and when its trials began and ended.

A trial's curve ends with the epoch of its slot. Rows behind that are of an attempt that was interrupted: the one that
ended the trial began again, and did not come so far. They stay, for no worker may delete an epoch, and nobody reads
them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, func, select, text

from caviar.epoch import Epoch, from_document
from caviar.storage.states import UNSPENT
from caviar.storage.tables import epoch, slot

_RECENT = 50  # trials

_EPOCHS = (
    select(epoch.c.slot, epoch.c.epoch, epoch.c.metrics, epoch.c.seconds)
    .join(slot, (slot.c.study_id == epoch.c.study_id) & (slot.c.number == epoch.c.slot))
    .where(epoch.c.epoch <= slot.c.epoch)
    .order_by(epoch.c.slot, epoch.c.epoch)
)
_NEVER_MEASURED = text("""
    SELECT name FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS n (name, place)
    WHERE NOT EXISTS (SELECT FROM caviar.epoch e WHERE e.study_id = :study AND jsonb_exists(e.metrics, name))
    ORDER BY place
""")
_TIMES = text("""
    SELECT s.number, t.datetime_start AT TIME ZONE 'UTC' AS began, t.datetime_complete AT TIME ZONE 'UTC' AS ended
    FROM caviar.slot s JOIN public.trials t ON t.trial_id = s.trial_id
    WHERE s.study_id = :study ORDER BY s.number
""")
# Of each slot by itself: for a sum over all of them, PostgreSQL would read every epoch of the study.
_UNSPENT_SECONDS = text("""
    SELECT s.number, (SELECT coalesce(sum(e.seconds), 0.0)::float FROM caviar.epoch e
                      WHERE e.study_id = s.study_id AND e.slot = s.number) AS seconds
    FROM caviar.slot s WHERE s.study_id = :study AND s.state IN ('open', 'leased') AND s.attempts > 0
""")


@dataclass(frozen=True)
class TrialTimes:
    """The start and the end of a trial; `ended` is None while it runs."""

    began: datetime
    ended: datetime | None


class RecentSeconds(NamedTuple):
    """How long an epoch and a trial took lately, on average; 0 before the first epoch."""

    epoch: float
    trial: float


def read_curve(engine: Engine, study_id: int, slot_number: int) -> list[Epoch]:
    """Return the epochs of one trial, in order."""
    with engine.connect() as connection:
        rows = connection.execute(_EPOCHS.where(epoch.c.study_id == study_id, epoch.c.slot == slot_number))
        return [_epoch(row) for row in rows]


def read_curves(engine: Engine, study_id: int, slots: Sequence[int] | None = None) -> dict[int, list[Epoch]]:
    """Return the epochs of all trials of a study, or of those in some slots, by slot number, each list in order."""
    curves: dict[int, list[Epoch]] = defaultdict(list)
    query = _EPOCHS.where(epoch.c.study_id == study_id)
    with engine.connect() as connection:
        for row in connection.execute(query if slots is None else query.where(epoch.c.slot.in_(slots))):
            curves[row.slot].append(_epoch(row))
    return dict(curves)


def never_measured(engine: Engine, study_id: int, names: Sequence[str]) -> list[str]:
    """Return those of the metrics that no epoch of any trial of a study has."""
    with engine.connect() as connection:
        return list(connection.scalars(_NEVER_MEASURED, {"study": study_id, "names": list(names)}))


def trained_seconds(engine: Engine, study_id: int, slot_number: int, last: int) -> float:
    """Return how many seconds the epochs of a trial up to `last` took, in all of its workers together."""
    query = select(func.coalesce(func.sum(epoch.c.seconds), 0.0))
    with engine.connect() as connection:
        of_trial = (epoch.c.study_id == study_id, epoch.c.slot == slot_number, epoch.c.epoch <= last)
        return float(connection.scalar(query.where(*of_trial)) or 0.0)


def unspent_seconds(connection: Connection, study_id: int) -> dict[int, float]:
    """Return how many seconds the epochs of each slot took that was begun and is not spent; such are few."""
    return {row.number: row.seconds for row in connection.execute(_UNSPENT_SECONDS, {"study": study_id})}


def spent_seconds(connection: Connection, study_id: int, slots: Collection[int] | None = None) -> float:
    """Return how many seconds the epochs of a study's spent slots took, in all of its workers together.

    Args:
        slots: the numbers of those that are meant; None for all, of which many are read.
    """
    unspent = select(slot.c.number).where(slot.c.study_id == study_id, slot.c.state.in_(UNSPENT))
    query = select(func.coalesce(func.sum(epoch.c.seconds), 0.0)).where(epoch.c.study_id == study_id)
    of = epoch.c.slot.not_in(unspent) if slots is None else epoch.c.slot.in_(slots)
    return float(connection.scalar(query.where(of)) or 0.0)


def recent_seconds(engine: Engine, study_id: int) -> RecentSeconds:
    """Return how long an epoch, and all epochs of a trial, took in the trials of a study that began last."""
    last = select(slot.c.number).where(slot.c.study_id == study_id, slot.c.epoch > 0).order_by(slot.c.number.desc())
    total, trials = func.sum(epoch.c.seconds), func.count(func.distinct(epoch.c.slot))
    query = select(total / func.count(), total / trials).where(
        epoch.c.study_id == study_id, epoch.c.slot.in_(last.limit(_RECENT))
    )
    with engine.connect() as connection:
        of_epoch, of_trial = connection.execute(query.having(func.count() > 0)).one_or_none() or (0.0, 0.0)
    return RecentSeconds(float(of_epoch), float(of_trial))


def read_times(engine: Engine, study_id: int) -> dict[int, TrialTimes]:
    """Return when the trials of a study began and ended, by slot number."""
    with engine.connect() as connection:
        return {row.number: TrialTimes(row.began, row.ended) for row in connection.execute(_TIMES, {"study": study_id})}


def _epoch(row: Any) -> Epoch:
    return Epoch(row.epoch, from_document(row.metrics), row.seconds)
