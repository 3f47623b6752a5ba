"""How studies stand: their progress, the winner so far, and what to do next.

Leases that have expired are given up first, as a worker would do: what is shown as running is running. Nothing here
loads PyTorch, and what needs no model of the trials does not load Optuna either, and so answers at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from caviar.storage import pandas
from caviar.storage.definitions import load_studies, load_study
from caviar.storage.family import read_parent
from caviar.storage.losses import free_lost
from caviar.storage.records import StudyRecord
from caviar.storage.snapshot import Snapshot
from caviar.storage.status import Progress, read_trial
from caviar.storage.test_results import tested_slot
from caviar.studies.api.session import connect, opened, watching
from caviar.studies.lifecycle.manager import definition_of, progress, take_snapshot
from caviar.studies.results.summaries import StudyState, StudyStatus, TrialValue, state_of, study_status
from caviar.studies.search.least_trials import MANY
from caviar.studies.workers.local.events import Progressed

if TYPE_CHECKING:
    from caviar.studies.results.next_steps import Step
    from caviar.studies.results.winner import Winner

_WATCH_SECONDS = 1.0  # between two snapshots


def list_studies(*, database: str | Engine | None = None) -> tuple[StudyStatus, ...]:
    """Return the progress of every study in the database.

    Examples:
        >>> for study in caviar.list_studies():
        ...     print(study.name, study.state, study.done, "of", study.budget)
    """
    with connect(database) as engine:
        return tuple(_status(engine, record) for record in load_studies(engine))


def status(study: str, *, database: str | Engine | None = None) -> StudyStatus:
    """Return the progress of a study, and from 20 finished trials on what more are expected to bring.

    Examples:
        >>> caviar.status("digits").best.value  # the best accuracy so far, 0 to 1
    """
    with opened(study, database) as (engine, record):
        free_lost(engine, record)
        now = progress(engine, record)
        if not _has_winner(engine, record, now):
            return status_of(engine, record, now)
        return status_of(engine, record, now, best(study, database=engine))


def _has_winner(engine: Engine, record: StudyRecord, now: Progress) -> bool:
    """Return whether a study has a winner, or so many trials that a model says who it is so far and what more bring."""
    return (now.done >= MANY or state_of(now) == StudyState.DONE) and not pandas.is_panda(engine, record.study_id)


def watch(study: str, *, database: str | Engine | None = None) -> Iterator[Progressed]:
    """Yield a study as it is now, and again every second until every trial is finished.

    A database that goes away meanwhile is waited for, for up to 15 minutes.

    Raises:
        DatabaseAway: it was away for longer.

    Examples:
        >>> for now in caviar.watch("digits"):
        ...     print(now.snapshot.progress.done)
    """
    with opened(study, database) as (engine, record):
        outage = watching()
        while True:
            record, now = outage.insist(partial(_current, engine, record))
            yield Progressed(definition_of(record), now)
            if state_of(now.progress) == StudyState.DONE:
                return
            time.sleep(_WATCH_SECONDS)


def _current(engine: Engine, record: StudyRecord) -> tuple[StudyRecord, Snapshot]:
    """Return a study with its current definition, and how far it is."""
    free_lost(engine, record)
    now = take_snapshot(engine, record)
    return (record if now.progress.version == record.version else load_study(engine, record.name)), now


def best(study: str, *, database: str | Engine | None = None) -> Winner | None:
    """Return the trial that won a study so far; None before one is complete.

    Examples:
        >>> winner = caviar.best("digits")
        >>> winner.hyperparameters, winner.metrics["accuracy"]
    """
    from caviar.studies.results.winner import read_winner

    with opened(study, database) as (engine, record):
        return read_winner(engine, record)


def next_steps(study: str, *, database: str | Engine | None = None) -> tuple[Step, ...]:
    """Return what to do next with a study, the most useful step first: the list that every command shows.

    Examples:
        >>> for step in caviar.next_steps("digits"):
        ...     print(step.command, "#", step.why)
    """
    from caviar.studies.panda.journal import read_journal
    from caviar.studies.panda.steps import panda_steps
    from caviar.studies.results import next_steps as steps

    with opened(study, database) as (engine, record):
        free_lost(engine, record)
        if pandas.is_panda(engine, record.study_id):
            return panda_steps(read_journal(engine, record))
        now = progress(engine, record)
        if (unfinished := steps.unfinished(definition_of(record), now)) is not None:
            return steps.next_steps(unfinished)  # which needs no Optuna
        from caviar.studies.results.report.reading import read_steps

        return read_steps(engine, record, now=now)


def best_and_next_steps(study: str, *, database: str | Engine | None = None) -> tuple[Winner | None, tuple[Step, ...]]:
    """Return what `best` and `next_steps` do, of trials that are read and modelled once."""
    with opened(study, database) as (engine, record):
        if pandas.is_panda(engine, record.study_id):
            return best(study, database=engine), next_steps(study, database=engine)
        from caviar.studies.results.report.reading import read_winner_and_steps

        free_lost(engine, record)
        return read_winner_and_steps(engine, record)


def status_and_next_steps(
    study: str, *, database: str | Engine | None = None
) -> tuple[StudyStatus, Winner | None, tuple[Step, ...]]:
    """Return what `status` and `next_steps` do, and the winner so far, of trials that are read and modelled once."""
    with opened(study, database) as (engine, record):
        free_lost(engine, record)
        now = progress(engine, record)
        if not _has_winner(engine, record, now):
            return status_of(engine, record, now), None, next_steps(study, database=engine)
        from caviar.studies.results.report.reading import read_winner_and_steps

        winner, steps = read_winner_and_steps(engine, record, now)
        return status_of(engine, record, now, winner), winner, steps


def is_panda(study: str, *, database: str | Engine | None = None) -> bool:
    """Return whether a study in the database is a panda, one model that is babysat, instead of a search.

    Examples:
        >>> caviar.is_panda("baby")
    """
    with opened(study, database) as (engine, record):
        return pandas.is_panda(engine, record.study_id)


def _status(engine: Engine, record: StudyRecord) -> StudyStatus:
    free_lost(engine, record)
    return status_of(engine, record, progress(engine, record))


def status_of(engine: Engine, record: StudyRecord, now: Progress, winner: Winner | None = None) -> StudyStatus:
    """Return the progress of a study that was just read, with its winner and its parent.

    Args:
        winner: the best trial so far, where that is known already: then the prospect is, too.
    """
    won = None
    if state_of(now) == StudyState.DONE:
        number = _won(engine, record) if winner is None else winner.trial if winner.is_settled else None
        won = None if number is None else TrialValue(number, read_trial(engine, record.study_id, number).value)
    parent, prospect = read_parent(engine, record.study_id), winner.prospect if winner is not None else None
    return study_status(record, definition_of(record), now, won, parent, prospect)


def _won(engine: Engine, record: StudyRecord) -> int | None:
    """Return the number of the trial that won a study that is done: the one that was measured on the test set, or where
    there is none, the one that the model of the winner expects most of."""
    tested = tested_slot(engine, record.study_id)
    if tested is not None or definition_of(record).has_test or pandas.is_panda(engine, record.study_id):
        return tested
    from caviar.studies.results.winner import standings  # which loads Optuna

    winner = standings(engine, record).winner
    return None if winner is None else winner.trial
