"""Steer a study from anywhere: pause, resume or stop its workers, end a trial, free a machine, extend, retune or
delete it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from caviar.storage.control import free_machine, kill_trial, set_control
from caviar.storage.definitions import delete_remains, delete_study, find_study, load_study
from caviar.storage.engine import require_writable
from caviar.storage.errors import StudyDeleted
from caviar.storage.events import read_events
from caviar.storage.family import Parent
from caviar.storage.losses import free_lost
from caviar.storage.outage import Outage
from caviar.storage.pandas import is_panda
from caviar.storage.records import FreedMachine, StudyRecord
from caviar.storage.states import Control, EventKind
from caviar.storage.status import read_trial
from caviar.storage.trial_logs import TrialLogs
from caviar.storage.who import current_user
from caviar.studies.api.session import connect, data_folder, opened, settings_of
from caviar.studies.dashboard.note import leave_note
from caviar.studies.definition import Study
from caviar.studies.errors import DefinitionError
from caviar.studies.lifecycle.manager import (
    definition_of,
    extend_study,
    free_dead_workers,
    open_study,
    progress,
    refuse_panda,
)
from caviar.studies.lifecycle.provenance import provenance_of
from caviar.studies.results.next_steps import next_steps, unfinished
from caviar.studies.results.summaries import StudyState, StudyStatus, state_of, study_status

if TYPE_CHECKING:
    from caviar.studies.results.winner import Standings

_DELETE_PATIENCE = 10.0  # seconds; a worker may hold a row for a moment


@dataclass(frozen=True)
class ControlChange:
    """The outcome of `pause`, `resume` or `stop`.

    Attributes:
        changed: False if the study was in that state already, or is done.
        done: whether every trial is finished, so that there is nothing to steer.
        leased: trials that workers hold; they give them back when they notice.
        is_panda: whether the study is a panda, one model that is babysat.
    """

    changed: bool
    done: bool
    leased: int
    is_panda: bool


def pause(study: str, *, now: bool = False, database: str | Engine | None = None) -> ControlChange:
    """Let the workers of all machines give their trials back after the current epoch, and wait for `resume`.

    Args:
        now: in the middle of the epoch, which is then trained again from the last checkpoint.

    Examples:
        >>> caviar.pause("digits")
    """
    return _set_control(study, Control.PAUSE, now, database)


def stop(study: str, *, now: bool = False, database: str | Engine | None = None) -> ControlChange:
    """Let the workers of all machines give their trials back after the current epoch, and exit. Nothing is lost.

    Args:
        now: in the middle of the epoch, which is then trained again from the last checkpoint.

    Examples:
        >>> caviar.stop("digits", now=True)
    """
    return _set_control(study, Control.STOP, now, database)


def resume(study: str, *, database: str | Engine | None = None) -> ControlChange:
    """Let a paused or stopped study go on; workers that wait for it take up its trials.

    Examples:
        >>> caviar.resume("digits")
    """
    return _set_control(study, Control.RUN, False, database)


def kill(study: str, trial: int, *, database: str | Engine | None = None) -> bool:
    """End one trial after its current epoch, as if it had been pruned; its slot of the budget is spent.

    Args:
        trial: the trial's number, from 0.

    Returns:
        True if the trial has ended; False if a worker trains it, and ends it after the epoch.

    Raises:
        TrialNotRunning: the trial has not begun, or has ended.

    Examples:
        >>> caviar.kill("digits", 17)
    """
    with opened(study, database) as (engine, record):
        return kill_trial(engine, record, trial, by=current_user())


def stop_workers(host_or_job: str, study: str | None = None, *, database: str | Engine | None = None) -> FreedMachine:
    """Free a machine: its workers give their trials back after the current epoch, and leave.

    So does the command that started them. Others go on, with these trials too; a `join` that begins there later works.

    Args:
        host_or_job: a host as `workers` shows it, with or without its domain; or a scheduler's job, where `123` stands
            for all tasks of an array, and `123_4` for one.
        study: whose workers; None for those of all studies.

    Raises:
        WorkerNotFound: no worker is there.

    Examples:
        >>> caviar.stop_workers("gpu7", "digits").workers
        2
    """
    with connect(database) as engine:
        record = load_study(engine, study) if study else None
        require_writable(engine)
        return free_machine(engine, host_or_job, record.study_id if record else None, by=current_user())


def extend(study: str, budget: int, *, database: str | Engine | None = None) -> StudyStatus:
    """Give a study a larger budget; running workers notice it by themselves.

    Args:
        budget: the new number of trials in all.

    Returns:
        The study's progress by the new budget.

    Raises:
        NotComparable: the budget is not larger, or the study is a panda.

    Examples:
        >>> caviar.extend("digits", budget=80)
    """
    with opened(study, database) as (engine, record):
        extended = extend_study(engine, record, budget)
        definition, now = definition_of(extended), progress(engine, extended)
        if (situation := unfinished(definition, now)) is not None:
            leave_note(engine, extended, steps=next_steps(situation))
        return study_status(extended, definition, now)


def retune(
    study: str,
    name: str,
    *,
    widen: Sequence[str] = (),
    data: str | None = None,
    epochs: int | None = None,
    budget: int | None = None,
    seed: int | None = None,
    accept: bool = False,
    data_dir: str | Path | None = None,
    database: str | Engine | None = None,
) -> Study:
    """Begin a new study with what an earlier one knew: it tries the winner second, and its trials are a prior.

    Once the first trials have looked at each tier, a model chooses, at every budget: it learns from the earlier trials
    too, as far as the new ones agree.

    Args:
        study: the name of the earlier study in the database.
        name: the name of the new one.
        widen: hyperparameters that get a wider range.
        data: another data set.
        epochs: the length of each trial, instead of as before.
        budget: the number of trials, instead of as before.
        seed: the seed of the search, instead of the next one.
        accept: train with the code that is here, though the earlier study was trained with other code.

    Returns:
        The definition of the new study, which is in the database; `run(name)` trains it.

    Raises:
        DefinitionError: the name is taken, no trial is complete, or a hyperparameter has no range to widen.
        NotComparable: the study is a panda.
        MachineMismatch: the code here is not that of the earlier study, and is not accepted: none of it was run.
        CodeMissing: the code is not here.
        DataUnavailable: the data are not here, and cannot be downloaded.

    Examples:
        >>> caviar.retune("digits", "digits-wider", widen=["learning_rate"])
        >>> caviar.run("digits-wider")
    """
    from caviar.studies.lifecycle.retune import retuned  # these load Optuna
    from caviar.studies.results.winner import standings
    from caviar.studies.workers.local.preparation import check_stored

    folder = data_folder(data_dir)
    with opened(study, database) as (engine, record):
        refuse_panda(engine, record)
        if find_study(engine, name) is not None:
            raise DefinitionError(f"there is a study '{name}' already; give another name, or: caviar delete {name}")
        earlier = standings(engine, record)
        after = retuned(
            earlier.study, earlier.trials, tested=earlier.winner.trial if earlier.winner else None, widen=widen,
            name=name, data=data, epochs=epochs, **_length_of(engine, record, budget),
            seed=earlier.study.seed + 1 if seed is None else seed,
        )  # fmt: skip
        check_stored(record, after, folder, accept=accept)
        open_study(engine, after, provenance_of(after, folder), parent=_parent_of(engine, record, earlier, after))
    return after


def _length_of(engine: Engine, record: StudyRecord, budget: int | None) -> dict[str, Any]:
    """Return budget and rule of a retuned study; those from before the end, where the earlier one ended early."""
    ends = [event.detail for event in read_events(engine, record.study_id, EventKind.ENDED_EARLY)]
    if not ends or ends[-1].get("budget") != definition_of(record).budget:
        return {"budget": budget}
    return {"budget": budget or ends[-1].get("before"), "until": ends[-1].get("rule")}


def _parent_of(engine: Engine, record: StudyRecord, earlier: Standings, after: Study) -> Parent:
    """Return what the history of a retuned study says of the earlier one."""
    from caviar.studies.results.compare.differences import of_definitions

    before, winner = earlier.study, earlier.winner
    assert winner is not None  # or there was nothing to begin with
    value = read_trial(engine, record.study_id, winner.trial).value
    changes = tuple(
        f"{each.what} {each.values[0]} before, {each.values[1]} now"
        for each in of_definitions([before, after])
        if each.what not in ("seed", "prior")
    )
    return Parent(before.name, record.study_id, winner.trial, value, before.metric, changes)


def delete(study: str, *, database: str | Engine | None = None) -> None:
    """Delete a study with all its trials, from Optuna's tables too. There is no way back.

    Of a study that another Optuna program deleted, this removes what Caviar still has, its checkpoints too.

    Raises:
        StudyInUse: workers train its trials.

    Examples:
        >>> caviar.delete("digits-random")
    """
    with connect(database) as engine:
        require_writable(engine)
        try:
            record = load_study(engine, study)
        except StudyDeleted:
            delete_remains(engine, study)
            return
        free_dead_workers(engine, record)
        free_lost(engine, record)
        Outage(_DELETE_PATIENCE).insist(lambda: delete_study(engine, record))
        TrialLogs(settings_of(database).home, record.label).remove()


def _set_control(study: str, control: Control, at_once: bool, database: str | Engine | None) -> ControlChange:
    with opened(study, database) as (engine, record):
        panda = is_panda(engine, record.study_id)
        if not panda and state_of(progress(engine, record)) == StudyState.DONE:
            return ControlChange(changed=False, done=True, leased=0, is_panda=False)
        changed = set_control(engine, record.study_id, control, at_once=at_once, by=current_user())
        return ControlChange(changed, False, progress(engine, record).leased, panda)
