"""Lost leases of killed workers, dead hosts and cut networks: their slots are opened again, with their trials.

A slot that is lost `LIMIT` times in a row without a new epoch is abandoned. It may be what kills its workers, such as a
configuration that needs more memory than any machine has, and would otherwise occupy them for ever. Where its training
itself hangs, crashes or leaves the process, `OWN_LIMIT` times are enough. A day of a panda is
not abandoned: a person trains it, who may well kill the process five times.

A trial that somebody has asked to end is ended: nobody needs to train it for that. So is one that took too long, where
its worker had to be ended for it.

A slot whose trial another Optuna program ended is spent, with the result that it was given: its worker has lost it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.exc import InternalError

from caviar.storage import optuna_tables as optuna
from caviar.storage.events import log_event
from caviar.storage.outage import is_read_only
from caviar.storage.records import StudyRecord, WorkerDeath
from caviar.storage.states import EventKind, Phase, SlotState
from caviar.storage.tables import checkpoint, slot, worker

LIMIT = 5  # losses in a row without a new epoch
_OF_A_PANDA = (Phase.DAY, Phase.LOOK)
SUSPECT = 2  # losses in a row after which a slot is trained alone, so that no other trial is lost with it
OWN_LIMIT = SUSPECT + 1  # the last one alone, so that no other trial can be to blame


def reap(connection: Connection, study_id: int) -> int:
    """Take back the expired leases of a study, and return how many there were. Slots whose trials another Optuna
    program ended are spent by the same statement."""
    return _take_back(connection, study_id, slot.c.expires_at < func.now(), EventKind.LEASE_EXPIRED)


def free_lost(engine: Engine, record: StudyRecord) -> int:
    """Take back the expired leases of a study for somebody who reads; return how many there were: 0 on a server that
    only reads. Nothing depends on it: who counts slots counts expired leases as open."""
    try:
        with engine.begin() as connection:
            return reap(connection, record.study_id)
    except InternalError as error:
        if not is_read_only(error):
            raise
        return 0


def leases_on(engine: Engine, study_id: int, machine: str) -> set[int]:
    """Return the ids of the processes of a machine that hold leases of a study."""
    query = (
        select(worker.c.pid)
        .join(slot, slot.c.worker_id == worker.c.worker_id)
        .where(slot.c.study_id == study_id, slot.c.state == SlotState.LEASED, worker.c.machine == machine)
    )
    with engine.connect() as connection:
        return set(connection.scalars(query))


def release_dead(engine: Engine, study_id: int, machine: str, deaths: Mapping[int, WorkerDeath]) -> int:
    """Open the slots of processes of a machine that are known to be dead, by process id; return how many there were."""
    with engine.begin() as connection:
        return sum(_release(connection, study_id, machine, pid, death) for pid, death in deaths.items())


def _release(connection: Connection, study_id: int, machine: str, pid: int, death: WorkerDeath) -> int:
    dead = select(worker.c.worker_id).where(worker.c.machine == machine, worker.c.pid == pid)
    return _take_back(connection, study_id, slot.c.worker_id.in_(dead), EventKind.WORKER_DIED, death)


def _take_back(
    connection: Connection,
    study_id: int,
    condition: ColumnElement[bool],
    kind: EventKind,
    death: WorkerDeath = WorkerDeath(),  # noqa: B008 - frozen
) -> int:
    trials = optuna.trials
    ended = select(trials.c.state).where(trials.c.trial_id == slot.c.trial_id, trials.c.state.in_(optuna.FINISHED))
    ended_as = ended.scalar_subquery()
    # SKIP LOCKED passes over a lease that another worker is renewing or taking back at this moment.
    lost = (
        select(slot.c.number, ended_as.label("ended_as"))
        .where(
            slot.c.study_id == bindparam("study"),
            slot.c.state.in_((SlotState.OPEN, SlotState.LEASED)),
            and_(slot.c.state == SlotState.LEASED, condition)
            | and_(slot.c.trial_id.is_not(None), ended_as.is_not(None)),  # most open slots have none to look for
        )
        .with_for_update(skip_locked=True, of=slot)
        .cte("lost")
    )
    is_ended = lost.c.ended_as.is_not(None)
    losses = case((is_ended, slot.c.losses), else_=slot.c.losses + int(death.is_loss))
    limit = OWN_LIMIT if death.is_own else LIMIT
    abandoned = and_(literal(death.is_loss), losses >= limit, slot.c.phase.not_in(_OF_A_PANDA))
    is_over = slot.c.kill | (slot.c.number == literal(death.overdue, Integer))
    state = case(
        (is_ended, SlotState.ENDED_ELSEWHERE),
        (is_over, SlotState.DONE),
        (abandoned, SlotState.ABANDONED),
        else_=SlotState.OPEN,
    )
    of_slot = (slot.c.number, slot.c.state, slot.c.epoch, slot.c.losses, slot.c.trial_id, slot.c.worker_id)
    statement = (
        update(slot)
        .where(slot.c.study_id == bindparam("study"), slot.c.number == lost.c.number)
        .values(state=state, losses=losses, token=None, expires_at=None)
        .returning(*of_slot, lost.c.ended_as)
    )
    known = {"why": death.why, "traceback": death.traceback, "output": death.output}
    detail = {name: value for name, value in known.items() if value}
    rows = connection.execute(statement, {"study": study_id}).all()
    for row in rows:
        if row.state == SlotState.ENDED_ELSEWHERE:
            _concede(connection, study_id, row)
            continue
        event = EventKind.TIMED_OUT if row.number == death.overdue else kind
        log_event(connection, study_id, event, slot=row.number, worker_id=row.worker_id, epoch=row.epoch, **detail)
        if row.state == SlotState.ABANDONED:
            _abandon(connection, study_id, row, death.why)
        elif row.state == SlotState.DONE:
            why = death.why if row.number == death.overdue else killed_after(row.epoch)
            end_early(connection, row.trial_id, row.epoch, why)
            _drop_checkpoint(connection, study_id, row.number)
    return sum(row.state != SlotState.ENDED_ELSEWHERE for row in rows)


def _concede(connection: Connection, study_id: int, row: Any) -> None:
    log_event(
        connection, study_id, EventKind.ENDED_ELSEWHERE, slot=row.number, epoch=row.epoch,
        by="another Optuna program", state=row.ended_as.lower(),
    )  # fmt: skip
    # Nobody goes on with it. `caviar doctor --fix` removes a file, since this transaction may yet fail.
    connection.execute(delete(checkpoint).where(checkpoint.c.study_id == study_id, checkpoint.c.slot == row.number))


def killed_after(epoch: int) -> str:
    """Return why a trial ended that somebody has killed."""
    return f"killed by hand after epoch {epoch}"


def end_early(connection: Connection, trial_id: int, epoch: int, why: str) -> bool:
    """End a trial that nobody trains, as pruned with its last value, or as failed if it has none; return False if
    another Optuna program has ended it."""
    curve = optuna.trial_intermediate_values
    values = select(curve.c.intermediate_value).where(curve.c.trial_id == trial_id, curve.c.step <= epoch)
    value = connection.scalar(values.order_by(curve.c.step.desc()).limit(1))
    if not optuna.end_trial(connection, trial_id, "FAIL" if value is None else "PRUNED", value):
        return False
    attributes = {"epochs": epoch, "why it stopped": why}
    optuna.set_attributes(connection, "trial_user_attributes", trial_id, attributes)
    return True


def _abandon(connection: Connection, study_id: int, row: Any, last: str) -> None:
    why = f"lost {row.losses} times after epoch {row.epoch} without getting further" + (f"; last: {last}" * bool(last))
    log_event(connection, study_id, EventKind.ABANDONED, slot=row.number, why=why)
    _drop_checkpoint(connection, study_id, row.number)
    if row.trial_id is not None and optuna.end_trial(connection, row.trial_id, "FAIL"):
        attributes = {"epochs": row.epoch, "why it stopped": why}
        optuna.set_attributes(connection, "trial_user_attributes", row.trial_id, attributes)


def _drop_checkpoint(connection: Connection, study_id: int, number: int) -> None:
    """Remove a checkpoint from the database. A file goes when the study ends, since this transaction may yet fail."""
    of_slot = (checkpoint.c.study_id == study_id, checkpoint.c.slot == number)
    connection.execute(delete(checkpoint).where(*of_slot, checkpoint.c.address.is_(None)))
