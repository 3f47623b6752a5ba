"""Store pandas: the days of one model, each a slot with its trial, and the nudges that change its settings.

Opening a day and going back lock the study's row first: of two processes at once, the second one sees what the first
one did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, text, update

from caviar.storage import optuna_tables as optuna
from caviar.storage.definitions import add_slots
from caviar.storage.errors import PandaBusy, UnknownDay
from caviar.storage.events import log_event
from caviar.storage.losses import free_lost, reap
from caviar.storage.nudges import NudgeRecord, nudges_of, settle
from caviar.storage.optuna_tables import CONSTRAINT_NAME, VIOLATED
from caviar.storage.records import Slot, StudyRecord
from caviar.storage.states import Control, EventKind, NudgeState, Phase, SlotState
from caviar.storage.tables import day, nudge, panda, slot, study

BIRTH = 0  # the number of the first day
TIER = 1  # the tier of all days' slots


@dataclass(frozen=True)
class Origin:
    """The trial that a panda's weights come from: its study's name, its number, and its last epoch."""

    study: str
    trial: int
    epoch: int


@dataclass(frozen=True)
class PandaRecord:
    """How a panda is trained."""

    head: int  # the number of the day that the next one builds on
    day_epochs: int | None  # the length of a day, or
    day_seconds: float | None
    keeps_all: bool
    seed_number: int  # its random numbers are derived from it, as a trial's are from the trial's number
    origin: Origin | None


@dataclass(frozen=True)
class NewDay:
    """A day that is to be trained."""

    parent: int | None  # the number of the day that it builds on; None for the birth
    begins_at: int  # the epoch that it builds on
    settings: Mapping[str, Any]
    decay_from: int  # the epoch from which the decay of the learning rate is counted
    epochs: int | None = None  # its length, if it is not that of the panda's days
    is_look: bool = False  # a candidate for the next day, trained for a short look at its curve


@dataclass(frozen=True)
class DayRecord(NewDay):
    """A day as it is."""

    number: int = BIRTH  # that of its slot and its trial, too
    state: SlotState = SlotState.OPEN
    epoch: int = 0  # the last that is written
    trial_id: int | None = None
    value: float | None = None
    ended: str | None = None  # the trial's state in lower case, once the day has ended
    violated: str | None = None  # `diverged` or `out_of_memory`
    saved: bool = False  # whether the state at its end is kept
    holder: str | None = None  # the process that trains it, as `host:pid (device)`
    began_at: datetime | None = None


@dataclass(frozen=True)
class Life:
    """A panda with its days, by number, and its nudges, in the order in which they were given."""

    panda: PandaRecord
    days: tuple[DayRecord, ...]
    nudges: tuple[NudgeRecord, ...]


_DAYS = text(f"""
    SELECT d.parent, d.begins_at, d.settings, d.decay_from, d.epochs, d.is_look, d.number, s.state, s.epoch, s.trial_id,
           v.value, CASE WHEN s.state <> 'done' THEN NULL ELSE lower(t.state::text) END AS ended,
           (SELECT min({CONSTRAINT_NAME}) FROM public.trial_system_attributes a
             WHERE a.trial_id = s.trial_id AND {VIOLATED}) AS violated,
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


def add_panda(connection: Connection, study_id: int, record: PandaRecord, birth: NewDay) -> None:
    """Make a panda of a study that is being registered, and that has the slot of its birth."""
    origin = vars(record.origin) if record.origin else None
    connection.execute(insert(panda).values(study_id=study_id, **{**vars(record), "origin": origin}))
    connection.execute(insert(day).values(study_id=study_id, number=BIRTH, **vars(birth)))


def is_panda(engine: Engine, study_id: int) -> bool:
    """Return True if a study is a panda."""
    with engine.connect() as connection:
        return connection.scalar(select(panda.c.head).where(panda.c.study_id == study_id)) is not None


def read_life(engine: Engine, record: StudyRecord) -> Life:
    """Return a panda's days and nudges.

    Raises:
        UnknownDay: the study is no panda.
    """
    free_lost(engine, record)
    with engine.connect() as connection:
        return _read(connection, record)


def _read(connection: Connection, record: StudyRecord) -> Life:
    row = connection.execute(select(panda).where(panda.c.study_id == record.study_id)).one_or_none()
    if row is None:
        raise UnknownDay(
            f"'{record.name}' is a study of many models, not a panda; see it with: caviar status {record.name}"
        )
    fields = {name: value for name, value in row._mapping.items() if name != "study_id"}
    if row.origin:
        fields["origin"] = Origin(**row.origin)
    rows = connection.execute(_DAYS, {"study": record.study_id})
    days = tuple(DayRecord(**{**each._mapping, "state": SlotState(each.state)}) for each in rows)
    return Life(PandaRecord(**fields), days, tuple(nudges_of(connection, record.study_id)))


def open_days(
    engine: Engine,
    record: StudyRecord,
    plan: Callable[[Life], Sequence[NewDay]] | None = None,
    *,
    finish_first: bool = True,
) -> list[int]:
    """Open the next days of a panda, set its control to `run`, and return the days' numbers.

    Args:
        plan: returns the days to open: one, which takes the waiting nudges with it, or several candidates; None opens
            none.
        finish_first: whether days that were left unfinished are returned instead; otherwise they are an error.

    Raises:
        PandaBusy: a process trains it now.
        UnknownDay: there are unfinished days, or `plan` can build on no day.
    """
    with engine.begin() as connection:
        life = _locked(connection, record)
        unfinished = [d.number for d in life.days if d.state == SlotState.OPEN]
        if unfinished and not finish_first:
            raise UnknownDay(
                f"day {unfinished[0]} of '{record.name}' is not finished; first: caviar panda train {record.name}, "
                f"or leave it: caviar panda back {record.name}"
            )
        running = update(study).where(study.c.study_id == record.study_id, study.c.control != Control.RUN)
        if connection.execute(running.values(control=Control.RUN, at_once=False)).rowcount:
            log_event(connection, record.study_id, EventKind.RESUMED)
        if unfinished or plan is None:
            return unfinished
        planned = plan(life)
        numbers = list(range(len(life.days), len(life.days) + len(planned)))
        for number, new in zip(numbers, planned, strict=True):
            _open(connection, record.study_id, number, new)
    return numbers


def _open(connection: Connection, study_id: int, number: int, new: NewDay) -> None:
    add_slots(connection, study_id, [Slot(number, TIER, Phase.LOOK if new.is_look else Phase.DAY, ())])
    connection.execute(insert(day).values(study_id=study_id, number=number, **vars(new)))
    of_slot = (slot.c.study_id == study_id, slot.c.number == number)
    connection.execute(update(slot).where(*of_slot).values(epoch=new.begins_at))
    if not new.is_look:
        connection.execute(update(panda).where(panda.c.study_id == study_id).values(head=number))
        settle(connection, study_id, state=NudgeState.TAKEN, day=number, epoch=new.begins_at)


def go_back(engine: Engine, record: StudyRecord, to: int, by: str, *, pick: bool = False) -> list[NudgeRecord]:
    """Let the next day build on the end of day `to`, and return the nudges that are dropped. An unfinished day is
    abandoned.

    Args:
        by: who goes back, as `user@host`.
        pick: whether `to` is a candidate that is chosen: it has begun with the nudges that waited then, which are
            taken; those that came later go on waiting. Otherwise all waiting nudges are dropped.

    Raises:
        PandaBusy: a process trains it now.
        UnknownDay: there is no such day, it has not ended, or its state is not kept.
    """
    with engine.begin() as connection:
        life = _locked(connection, record)
        saved = {day.number: day for day in life.days if day.saved}
        if to not in saved:
            raise UnknownDay(
                f"no state is kept of day {to} of '{record.name}', so that one cannot go back to it; "
                f"days with a state: {', '.join(map(str, saved)) or 'none'}"
            )
        connection.execute(update(panda).where(panda.c.study_id == record.study_id).values(head=to))
        if pick:
            earlier = nudge.c.at < saved[to].began_at
            settle(connection, record.study_id, earlier, state=NudgeState.TAKEN, day=to, epoch=saved[to].begins_at)
        else:
            settle(connection, record.study_id, state=NudgeState.DROPPED)
        _abandon_unfinished(connection, record.study_id)
        kind = EventKind.PICKED if pick else EventKind.WENT_BACK
        log_event(connection, record.study_id, kind, slot=to, came_from=life.panda.head, by=by)
    return [] if pick else [n for n in life.nudges if n.state == NudgeState.WAITING]


def _locked(connection: Connection, record: StudyRecord) -> Life:
    """Lock a panda that no process trains, and return its life; PandaBusy otherwise."""
    connection.execute(select(study.c.study_id).where(study.c.study_id == record.study_id).with_for_update())
    reap(connection, record.study_id)
    life = _read(connection, record)
    refuse_busy(record, life)
    return life


def refuse_busy(record: StudyRecord, life: Life) -> None:
    """Refuse to touch a panda that is being trained: PandaBusy names the process."""
    for each in life.days:
        if each.state == SlotState.LEASED:
            raise PandaBusy(
                f"'{record.name}' is one model, and {each.holder or 'a process'} trains it: day {each.number}, "
                f"epoch {each.epoch}; watch it with: caviar panda log {record.name} --watch; "
                f"let it rest with: caviar stop {record.name}"
            )


def _abandon_unfinished(connection: Connection, study_id: int) -> None:
    """Abandon a day that was begun and not finished; its epochs stay in the journal."""
    of_study = (slot.c.study_id == study_id, slot.c.state == SlotState.OPEN)
    abandoned = update(slot).where(*of_study).values(state=SlotState.ABANDONED).returning(slot.c.trial_id)
    begun = [trial for trial in connection.scalars(abandoned) if trial is not None]
    failed = update(optuna.trials).where(optuna.trials.c.trial_id.in_(begun), optuna.trials.c.state == "RUNNING")
    connection.execute(failed.values(state="FAIL", datetime_complete=optuna.UTC_NOW))
