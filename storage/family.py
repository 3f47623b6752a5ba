"""The family of a study: the one that it was retuned from, and those that were begun beside it under longer names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, text

from caviar.storage.events import read_events
from caviar.storage.states import EventKind

# Of a study that another Optuna program has deleted, only Optuna's own row is gone.
_THERE = text("""
    SELECT st.name FROM caviar.study st JOIN public.studies o ON o.study_id = st.optuna_study_id
    WHERE st.study_id = :id AND st.name = :name
""")
_BEGUN_BESIDE = text("""
    WITH newest AS (SELECT DISTINCT ON (study_id) study_id, body ->> 'metric' || ' ' || (body ->> 'direction') AS goal
                    FROM caviar.definition ORDER BY study_id, version DESC)
    SELECT st.name,
           n.goal IS DISTINCT FROM own.goal
             OR EXISTS (SELECT FROM caviar.panda p WHERE p.study_id = st.study_id) AS differs,
           NOT EXISTS (SELECT FROM caviar.slot s WHERE s.study_id = st.study_id
                       AND s.state IN ('open', 'leased')) AS ended
    FROM caviar.study st JOIN public.studies o ON o.study_id = st.optuna_study_id
    JOIN newest n ON n.study_id = st.study_id
    JOIN caviar.study this ON this.name = :name JOIN newest own ON own.study_id = this.study_id
    WHERE starts_with(st.name, :name || '-') ORDER BY st.name
""")


class Beside(StrEnum):
    """How a study stands that was begun under the longer name of another one."""

    OPEN = "open"  # trials are left
    ENDED = "ended"
    DIFFERS = "differs"  # it is a panda, or has another metric: the two cannot be compared


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
    parent = parent_of(found[0].detail) if found else None
    if parent is None:
        return None
    with engine.connect() as connection:
        there = connection.scalar(_THERE, {"id": parent.study_id, "name": parent.study})
    return parent if there else Parent(**{**vars(parent), "is_there": False})


def read_begun_beside(engine: Engine, name: str) -> Mapping[str, Beside]:
    """Return the studies whose names begin with this one's and a dash, such as `digits-wider`, and how each stands."""
    with engine.connect() as connection:
        rows = connection.execute(_BEGUN_BESIDE, {"name": name}).all()
    return {r.name: Beside.DIFFERS if r.differs else Beside.ENDED if r.ended else Beside.OPEN for r in rows}


def parent_of(detail: Mapping[str, Any]) -> Parent | None:
    """Return what the event of a retune holds; None if it makes no sense, since anybody may have written it."""
    of, study_id, trial, value = (detail.get(key) for key in ("of", "of_id", "trial", "value"))
    if not isinstance(of, str) or not isinstance(study_id, int) or not isinstance(trial, int):
        return None
    changes = detail.get("changes")
    return Parent(
        of, study_id, trial, value if isinstance(value, float | int) else None, str(detail.get("metric", "")),
        tuple(map(str, changes)) if isinstance(changes, list) else (),
    )  # fmt: skip
