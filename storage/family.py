"""The family of a study: the one that it was retuned from, and those that were begun beside it under longer names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from caviar.storage.events import read_events
from caviar.storage.states import EventKind

_THERE = text("SELECT name FROM caviar.study WHERE study_id = :id AND name = :name")
_BEGUN_BESIDE = text("""
    SELECT st.name, NOT EXISTS (SELECT FROM caviar.slot s WHERE s.study_id = st.study_id
                                AND s.state IN ('open', 'leased')) AS ended
    FROM caviar.study st JOIN public.studies o ON o.study_id = st.optuna_study_id
    WHERE starts_with(st.name, :name || '-') ORDER BY st.name
""")


@dataclass(frozen=True)
class Parent:
    """The study that another one was retuned from, as it was then.

    Attributes:
        study, study_id: its name and its number in the database.
        trial, value: the number of its winner, and that trial's value of its metric.
        metric: the name of that.
        changes: how the new study differs, a sentence each.
        is_there: whether the database still has it, under this name.
    """

    study: str
    study_id: int
    trial: int
    value: float | None
    metric: str
    changes: tuple[str, ...] = ()
    is_there: bool = True

    @property
    def detail(self) -> dict[str, Any]:
        """What the event of the retune holds."""
        return {"of": self.study, "of_id": self.study_id, "trial": self.trial, "value": self.value,
                "metric": self.metric, "changes": list(self.changes)}  # fmt: skip


def read_parent(engine: Engine, study_id: int) -> Parent | None:
    """Return the study that a study was retuned from; None of any other, and where that was not recorded."""
    found = read_events(engine, study_id, EventKind.RETUNED, last=1)
    parent = _parent(found[0].detail) if found else None
    if parent is None:
        return None
    with engine.connect() as connection:
        there = connection.scalar(_THERE, {"id": parent.study_id, "name": parent.study})
    return parent if there else Parent(**{**vars(parent), "is_there": False})


def read_begun_beside(engine: Engine, name: str) -> Mapping[str, bool]:
    """Return the studies whose names begin with this one's and a dash, such as `digits-wider`; and whether all trials
    of each have ended."""
    with engine.connect() as connection:
        return {row.name: bool(row.ended) for row in connection.execute(_BEGUN_BESIDE, {"name": name})}


def _parent(detail: Mapping[str, Any]) -> Parent | None:
    """Return what an event holds; None if it makes no sense, since anybody may have written it."""
    of, study_id, trial, value = (detail.get(key) for key in ("of", "of_id", "trial", "value"))
    if not isinstance(of, str) or not isinstance(study_id, int) or not isinstance(trial, int):
        return None
    changes = detail.get("changes")
    return Parent(
        of, study_id, trial, value if isinstance(value, float | int) else None, str(detail.get("metric", "")),
        tuple(map(str, changes)) if isinstance(changes, list) else (),
    )  # fmt: skip
