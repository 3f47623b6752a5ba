"""Read what a study would do, and its trials, curves, workers, history and output. Nothing here changes a study.

How studies stand is read in `caviar.studies.api.standing`. Most of these functions load neither PyTorch nor Optuna, and
so answer at once; the others import them themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Engine

from caviar.epoch import metric_names
from caviar.storage.curves import read_curves
from caviar.storage.definitions import find_study, load_studies, load_study, study_names
from caviar.storage.embedded import is_installed
from caviar.storage.errors import DatabaseError
from caviar.storage.events import read_events
from caviar.storage.losses import free_lost
from caviar.storage.records import WorkerSummary
from caviar.storage.revisions import read_versions
from caviar.storage.states import TrialState
from caviar.storage.status import read_trial, read_trials
from caviar.storage.trial_logs import TrialLogs
from caviar.storage.workers import read_workers
from caviar.studies.api.records import History, LearningCurve
from caviar.studies.api.session import connect, opened, settings_of
from caviar.studies.definition import Study, change
from caviar.studies.errors import NothingToDo, OptionError, UnknownStudy
from caviar.studies.lifecycle.loader import catalog_names, is_study_name, select_study, unknown_study
from caviar.studies.lifecycle.manager import definition_of, refuse_panda
from caviar.studies.metric import direction_of
from caviar.studies.results.summaries import (
    StudyPlan,
    TrialSummary,
    study_plan,
    trial_summaries,
)
from caviar.suggestions import did_you_mean
from caviar.text import shown

if TYPE_CHECKING:
    from caviar.studies.results.importance import Importances


def catalog() -> tuple[str, ...]:
    """Return the names of the studies that come with Caviar.

    Examples:
        >>> caviar.catalog()  # ('cifar10', 'digits', 'fashion_mnist', 'mnist')
    """
    return tuple(catalog_names())


def plan(
    study: Study | str,
    *,
    budget: int | None = None,
    strategy: str | None = None,
    database: str | Engine | None = None,
) -> StudyPlan:
    """Return what a study would do, before anything runs.

    No database is needed, and none is made: one that is there is asked only for a name that is nowhere else.

    Args:
        study: a definition, a name of the catalog or of a study in the database, a path to a .py file with a `STUDY`,
            or `package.module:NAME`.
        budget: the number of trials, instead of the study's own.
        strategy: the search strategy, instead of the study's own.

    Returns:
        The hyperparameters with their scales and tiers, and the slots of each tier and phase.

    Raises:
        UnknownStudy: nothing has that name.
        DefinitionError: the definition is not valid, or its model cannot be built. The code of a study in the database
            is not looked at.
        NotComparable: it is a panda, which has no plan.

    Examples:
        >>> for slot in caviar.plan("digits", budget=12).slots:
        ...     print(slot.number, slot.tier, slot.phase, slot.free)
    """
    from caviar.studies.workers.trial.checks import check

    try:
        definition = study if isinstance(study, Study) else select_study(study)
    except UnknownStudy as unknown:
        return study_plan(change(_stored(str(study), database, unknown), budget=budget, strategy=strategy))
    definition = change(definition, budget=budget, strategy=strategy)
    check(definition)
    return study_plan(definition)


def _stored(name: str, database: str | Engine | None, unknown: UnknownStudy) -> Study:
    """Return a study that only the database knows; raise that it is unknown where there is no database, either."""
    settings = settings_of(database)
    if settings.database_url is None and not is_installed(settings.home):
        raise unknown
    try:
        with connect(database) as engine:
            record = find_study(engine, name)
            if record is None:
                raise unknown_study(name, study_names(engine)) if is_study_name(name) else unknown
            refuse_panda(engine, record)
            return definition_of(record)
    except DatabaseError as error:
        raise UnknownStudy(f"{unknown}; nor could that be asked: {error}") from error


def trials(study: str, *, database: str | Engine | None = None) -> tuple[TrialSummary, ...]:
    """Return a summary of each slot of a study's budget, by number, with the trial that was trained in it.

    Examples:
        >>> import pandas
        >>> pandas.DataFrame(t.hyperparameters | {"value": t.value} for t in caviar.trials("digits"))
    """
    with opened(study, database) as (engine, record):
        return tuple(trial_summaries(definition_of(record), read_trials(engine, record.study_id)))


def curves(
    study: str, *, metric: str | None = None, top: int | None = None, database: str | Engine | None = None
) -> tuple[LearningCurve, ...]:
    """Return the learning curves of a study's ended trials: complete ones first, the best of each kind first.

    Args:
        metric: the name of one that the training measured; None for the study's own, by which trials are ordered.
        top: how many; None for all.

    Raises:
        OptionError: no trial measured that metric.

    Examples:
        >>> for curve in caviar.curves("digits", top=5):
        ...     plt.plot(curve.values, label=f"trial {curve.trial.trial}")
    """
    with opened(study, database) as (engine, record):
        definition = definition_of(record)
        summaries = trial_summaries(definition, read_trials(engine, record.study_id))
        epochs = read_curves(engine, record.study_id)
    sign = -1 if definition.maximize else 1
    sound = [t for t in summaries if t.value is not None and not t.violated and t.trial in epochs]
    sound.sort(key=lambda t: (t.state != TrialState.COMPLETE, sign * (t.value or 0.0), t.trial))
    metric = definition.metric if metric is None else metric
    if metric != definition.metric and metric not in (known := metric_names(e for c in epochs.values() for e in c)):
        raise OptionError(
            f"no trial of '{study}' measured '{shown(metric)}'; {did_you_mean(metric, known)}"
            f"measured were: {', '.join(known) or 'none'}"
        )
    own = metric == definition.metric
    maximize = (definition.direction if own else direction_of(metric) or definition.direction) == "maximize"
    return tuple(
        LearningCurve(t, metric, maximize, tuple(e.value(metric) for e in epochs[t.trial])) for t in sound[:top]
    )


def importance(study: str, *, database: str | Engine | None = None) -> Importances | None:
    """Return how much of a study's result each hyperparameter decides alone, and whether the order of tiers held.

    Returns:
        None before ten trials of different values are finished.

    Examples:
        >>> for one in caviar.importance("digits").hyperparameters:
        ...     print(f"{one.name}: {one.share:.0%}, {one.low:.0%} to {one.high:.0%}")
    """
    from caviar.studies.results.importance import importances
    from caviar.studies.results.winner import standings

    with opened(study, database) as (engine, record):
        current = standings(engine, record)
    return importances(current.study, current.trials)


def workers(
    study: str | None = None, *, include_ended: bool = False, database: str | Engine | None = None
) -> tuple[WorkerSummary, ...]:
    """Return the workers of all machines: host, device, state, and the trials that each trains.

    Args:
        study: the name of a study in the database; None for all studies.
        include_ended: whether to return those that have ended or were lost, too.

    Examples:
        >>> [f"{worker.host}:{worker.pid}" for worker in caviar.workers("digits")]
    """
    with connect(database) as engine:
        record = load_study(engine, study) if study else None
        for each in [record] if record else load_studies(engine):
            free_lost(engine, each)
        everyone = read_workers(engine, record.study_id if record else None)
    return tuple(w for w in everyone if include_ended or w.is_present)


def history(study: str, *, database: str | Engine | None = None) -> History:
    """Return the versions of a study's definition, and everything that happened to it, the oldest first.

    Examples:
        >>> [event for event in caviar.history("digits").events if event.kind == "taken over"]
    """
    with opened(study, database) as (engine, record):
        return History(tuple(read_versions(engine, record.study_id)), tuple(read_events(engine, record.study_id)))


def logs(study: str, trial: int | None = None, *, database: str | Engine | None = None) -> str:
    """Return what the training of a trial has printed on this machine, by workers of `run` and `join`.

    Only the end of much output is kept, and of trials that were trained as one program only that of the first.

    Args:
        trial: its number; None for what workers printed outside of trials, such as while they imported the code.

    Raises:
        TrialNotFound: the study has no such trial.
        NothingToDo: nothing was printed here.

    Examples:
        >>> print(caviar.logs("digits", 7))
    """
    with opened(study, database) as (engine, record):
        if trial is not None:
            read_trial(engine, record.study_id, trial)
        text = TrialLogs(settings_of(database).home, record.label).read(trial)
    if text is None:
        who = "the workers" if trial is None else f"trial {trial}"
        raise NothingToDo(
            f"{who} of '{study}' printed nothing on this machine; others that work on it: caviar workers {study}"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")  # a progress bar begins its line again
