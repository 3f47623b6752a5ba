"""Pandas in the database: the days of one model, each a slot with its trial, and what was changed between and in them.

Who opens a day or goes back locks the study's row first, so that of two at once one finds what the other did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, text, update

from storage import optuna_tables as optuna
from storage.definitions import add_slots
from storage.errors import NotThatDay, PandaBusy
from storage.events import log_event
from storage.losses import reap
from storage.records import Lease, SlotRecord, StudyRecord
from storage.tables import day, nudge, panda, slot, study

BIRTH = 0  # the day's number
TIER, DAY, LOOK = 1, "day", "look"  # of their slots


@dataclass(frozen=True)
class PandaRecord:
    """How a panda is trained; its days are so many epochs long, or so many seconds. `origin` names study and trial."""

    head: int
    day_epochs: int | None
    day_seconds: float | None
    keeps_all: bool
    seed_number: int
    origin: Mapping[str, Any] | None


@dataclass(frozen=True)
class NewDay:
    """A day that is to be trained: on which one it builds, and what it begins with."""

    parent: int | None
    begins_at: int
    settings: Mapping[str, Any]
    decay_from: int
    epochs: int | None = None
    is_look: bool = False


@dataclass(frozen=True)
class DayRecord(NewDay):
    """A day as it is: `state` is its slot's, `epoch` the last that is written, `value` its trial's at its end."""

    number: int = BIRTH
    state: str = "open"
    epoch: int = 0
    trial_id: int | None = None
    value: float | None = None
    ended: str | None = None  # Optuna's state, in lower case, once it has ended
    violated: bool = False
    saved: bool = False  # whether its last state is kept
    holder: str | None = None  # who trains it
    began_at: datetime | None = None


@dataclass(frozen=True)
class NudgeRecord:
    """What somebody changed, or wants to; in `day`, after `epoch`, once it is `taken`."""

    nudge_id: int
    at: datetime
    settings: Mapping[str, Any]
    why: str | None
    by: str
    state: str
    day: int | None
    epoch: int | None


@dataclass(frozen=True)
class Life:
    """All that is known of a panda but its curves. The days are in their order."""

    panda: PandaRecord
    days: tuple[DayRecord, ...]
    nudges: tuple[NudgeRecord, ...]


_DAYS = text("""
    SELECT d.parent, d.begins_at, d.settings, d.decay_from, d.epochs, d.is_look, d.number, s.state, s.epoch, s.trial_id,
           v.value, CASE WHEN s.state <> 'done' THEN NULL ELSE lower(t.state::text) END AS ended,
           EXISTS (SELECT FROM public.trial_system_attributes a
                   WHERE a.trial_id = s.trial_id AND a.key LIKE 'constraints:%') AS violated,
           EXISTS (SELECT FROM caviar.checkpoint c
                   WHERE c.study_id = d.study_id AND c.slot = d.number AND s.state = 'done') AS saved,
           CASE s.state WHEN 'leased' THEN w.host || ':' || w.pid || ' (' || w.device || ')' END AS holder,
           t.datetime_start AT TIME ZONE 'UTC' AS began_at
    FROM caviar.day d
    JOIN caviar.slot s USING (study_id, number)
    LEFT JOIN caviar.worker w USING (worker_id)
    LEFT JOIN public.trials t ON t.trial_id = s.trial_id
    LEFT JOIN public.trial_values v ON v.trial_id = s.trial_id AND v.objective = 0
    WHERE d.study_id = :study ORDER BY d.number
""")

# At the end of an epoch; shows the lease, so that a worker that lost it takes nothing.
_TAKE_NUDGES = text("""
    WITH held AS (
        SELECT study_id FROM caviar.slot
        WHERE study_id = :study AND number = :day AND token = :token FOR NO KEY UPDATE
    )
    UPDATE caviar.nudge n SET state = 'taken', day = :day, epoch = :epoch
    FROM held WHERE n.study_id = held.study_id AND n.state = 'waiting'
""")


def add_panda(connection: Connection, study_id: int, record: PandaRecord, birth: NewDay) -> None:
    """Make a study that is being registered, with the slot of its birth, a panda."""
    connection.execute(insert(panda).values(study_id=study_id, **vars(record)))
    connection.execute(insert(day).values(study_id=study_id, number=BIRTH, **vars(birth)))


def is_panda(engine: Engine, study_id: int) -> bool:
    """Say whether a study is a panda."""
    with engine.connect() as connection:
        return connection.scalar(select(panda.c.head).where(panda.c.study_id == study_id)) is not None


def read_life(engine: Engine, record: StudyRecord) -> Life:
    """Return a panda's days and nudges.

    Raises:
        NotThatDay: the study is no panda.
    """
    with engine.begin() as connection:
        reap(connection, record.study_id)
        return _read(connection, record)


def _read(connection: Connection, record: StudyRecord) -> Life:
    row = connection.execute(select(panda).where(panda.c.study_id == record.study_id)).one_or_none()
    if row is None:
        raise NotThatDay(
            f"'{record.name}' is a study of many models, and no panda; see it with: caviar status {record.name}"
        )
    fields = {name: value for name, value in row._mapping.items() if name != "study_id"}
    days = [DayRecord(**found._mapping) for found in connection.execute(_DAYS, {"study": record.study_id})]
    query = select(nudge).where(nudge.c.study_id == record.study_id).order_by(nudge.c.nudge_id)
    nudges = [
        NudgeRecord(r.nudge_id, r.at, r.settings, r.why, r.by, r.state, r.day, r.epoch)
        for r in connection.execute(query)
    ]
    return Life(PandaRecord(**fields), tuple(days), tuple(nudges))


def read_nudges(engine: Engine, study_id: int, day_number: int) -> list[NudgeRecord]:
    """Return what took effect in a day, in its order."""
    query = select(nudge).where(nudge.c.study_id == study_id, nudge.c.day == day_number).order_by(nudge.c.nudge_id)
    with engine.connect() as connection:
        return [
            NudgeRecord(r.nudge_id, r.at, r.settings, r.why, r.by, r.state, r.day, r.epoch)
            for r in connection.execute(query)
        ]


def open_days(engine: Engine, record: StudyRecord, plan: Callable[[Life], Sequence[NewDay]] | None = None) -> list[int]:
    """Open the next days of a panda, and return their numbers; those that are not finished come first, and alone.

    Args:
        plan: of its life, the days to open: one, which takes what waits of nudges with it, or several looks; None
            opens none.

    Raises:
        PandaBusy: somebody trains it now.
        NotThatDay: it cannot go on from where it is.
    """
    with engine.begin() as connection:
        life = _locked(connection, record)
        waiting = [d.number for d in life.days if d.state == "open"]
        if waiting or plan is None:
            return waiting
        planned = plan(life)
        first = len(life.days)
        numbers = list(range(first, first + len(planned)))
        kinds = [LOOK if new.is_look else DAY for new in planned]
        add_slots(connection, record.study_id, [
            SlotRecord(number, TIER, kind, ()) for number, kind in zip(numbers, kinds, strict=True)
        ])  # fmt: skip
        connection.execute(
            insert(day),
            [{"study_id": record.study_id, "number": n, **vars(new)} for n, new in zip(numbers, planned, strict=True)],
        )
        for number, new in zip(numbers, planned, strict=True):
            of_slot = (slot.c.study_id == record.study_id, slot.c.number == number)
            connection.execute(update(slot).where(*of_slot).values(epoch=new.begins_at))
            if not new.is_look:
                connection.execute(update(panda).where(panda.c.study_id == record.study_id).values(head=number))
                _settle(connection, record.study_id, state="taken", day=number, epoch=new.begins_at)
    return numbers


def take_nudges(engine: Engine, lease: Lease, epoch: int) -> bool:
    """Let what waits take effect in the leased day, after that epoch; say whether there was anything."""
    asked = {"study": lease.study_id, "day": lease.slot.number, "token": lease.token, "epoch": epoch}
    with engine.begin() as connection:
        return bool(connection.execute(_TAKE_NUDGES, asked).rowcount)


def add_nudge(engine: Engine, study_id: int, settings: Mapping[str, Any], why: str | None, by: str) -> None:
    """Ask for other settings, from the next epoch on."""
    with engine.begin() as connection:
        connection.execute(insert(nudge).values(study_id=study_id, settings=dict(settings), why=why, by=by))


def go_back(engine: Engine, record: StudyRecord, to: int, by: str) -> None:
    """Let the next day build on the end of day `to`; what waits of nudges is dropped.

    Raises:
        PandaBusy: somebody trains it now.
        NotThatDay: there is no such day, it has not ended, or its state is not kept any more.
    """
    with engine.begin() as connection:
        life = _locked(connection, record)
        there = {d.number: d for d in life.days if d.saved}
        if to not in there:
            raise NotThatDay(
                f"day {to} of '{record.name}' is none to go back to: "
                f"those whose state is kept are {', '.join(map(str, there)) or 'none'}"
            )
        connection.execute(update(panda).where(panda.c.study_id == record.study_id).values(head=to))
        _settle(connection, record.study_id, state="dropped")
        _abandon_unfinished(connection, record.study_id)
        log_event(connection, record.study_id, "went back", slot=to, came_from=life.panda.head, by=by)


def _locked(connection: Connection, record: StudyRecord) -> Life:
    """Return the life of a panda that nobody trains, and hold it.

    Raises:
        PandaBusy: somebody does.
    """
    connection.execute(select(study.c.study_id).where(study.c.study_id == record.study_id).with_for_update())
    reap(connection, record.study_id)
    life = _read(connection, record)
    for found in life.days:
        if found.holder is not None or found.state == "leased":
            raise PandaBusy(
                f"'{record.name}' is one model, and {found.holder or 'somebody'} trains it: day {found.number}, "
                f"epoch {found.epoch}; watch it with: caviar panda log {record.name} --watch; "
                f"let it rest with: caviar stop {record.name}"
            )
    return life


def _abandon_unfinished(connection: Connection, study_id: int) -> None:
    """Leave a day that was begun and not finished where it is; its epochs stay in the journal."""
    of_study = (slot.c.study_id == study_id, slot.c.state == "open")
    begun = connection.scalars(update(slot).where(*of_study).values(state="abandoned").returning(slot.c.trial_id))
    connection.execute(
        update(optuna.trials)
        .where(optuna.trials.c.trial_id.in_([trial for trial in begun if trial is not None]))
        .values(state="FAIL", datetime_complete=optuna.UTC_NOW)
    )


def _settle(connection: Connection, study_id: int, **values: object) -> None:
    connection.execute(update(nudge).where(nudge.c.study_id == study_id, nudge.c.state == "waiting").values(**values))
