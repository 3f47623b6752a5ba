"""Read the contents of a report from the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Engine

from caviar.epoch import Epoch, metric_names
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.curves import TrialTimes, read_curves, read_times
from caviar.storage.events import read_events
from caviar.storage.family import read_begun_beside, read_parent
from caviar.storage.history import is_sound
from caviar.storage.records import StudyRecord, TrialRecord
from caviar.storage.revisions import read_versions
from caviar.storage.status import Progress, read_progress, read_trials
from caviar.storage.workers import read_workers
from caviar.studies.definition import Study
from caviar.studies.lifecycle.evidence import read_sizes
from caviar.studies.lifecycle.manager import definition_of, progress
from caviar.studies.results.formatting import rounded
from caviar.studies.results.importance import importances
from caviar.studies.results.interactions import interactions
from caviar.studies.results.next_steps import Reason, Situation, Step, next_steps, unfinished
from caviar.studies.results.report.answers import TOP, answers
from caviar.studies.results.report.device_time import DeviceClock
from caviar.studies.results.report.holdings import holdings
from caviar.studies.results.report.records import (
    Cost,
    Report,
    ReportedEvent,
    ReportedHyperparameter,
    ReportedPair,
    ReportedStudy,
    ReportedTrial,
)
from caviar.studies.results.summaries import TrialSummary, state_of, trial_summaries
from caviar.studies.results.winner import Standings, Winner, read_winner, standings
from caviar.studies.search.effects import Around
from caviar.studies.search.optuna_space import named_scales
from caviar.studies.space.base import BaseScale
from caviar.text import shown

_PAIRS = 2  # pictures of two hyperparameters, at most


def read_report(engine: Engine, record: StudyRecord) -> Report:
    """Return everything that a report says of a study."""
    # First: the curves of the trials that are finished here are in what is read later.
    current = standings(engine, record)
    around = (
        None if current.winner is None else Around(current.study, current.trials, current.winner.trial, current.model)
    )
    return concluded(
        replace(
            read_facts(engine, record, current),
            importance=importances(current.study, current.trials),
            effects=around.effects() if around else {},
            pairs=_pairs(current, around) if around else (),
        )
    )


def read_steps(engine: Engine, record: StudyRecord, now: Progress | None = None) -> tuple[Step, ...]:
    """Return what to do next with a search: what its report says, but without reading more than that takes.

    Args:
        now: how far it is, where that has been read already.
    """
    now = now or progress(engine, record)
    if (situation := unfinished(definition_of(record), now)) is not None:
        return next_steps(situation)
    return read_winner_and_steps(engine, record, now)[1]


def read_winner_and_steps(
    engine: Engine, record: StudyRecord, now: Progress | None = None
) -> tuple[Winner | None, tuple[Step, ...]]:
    """Return the winner of a search so far, and what to do next with it, of trials that are read and modelled once."""
    current = standings(engine, record)
    now = now or progress(engine, record)
    if (situation := unfinished(definition_of(record), now)) is not None:
        return read_winner(engine, record, current), next_steps(situation)
    best = [number for number, _ in sound_values(current)[:TOP]]
    report = concluded(read_facts(engine, record, current, curves_of=best, now=now))
    return report.winner, report.steps


def sound_values(current: Standings) -> list[tuple[int, float]]:
    """Return number and value of each complete, sound trial, the best one first; of equal values the first trial."""
    values = [(t.number, t.value) for t in current.trials if is_sound(t) and t.value is not None]
    return sorted(values, key=lambda trial: (-trial[1] if current.study.maximize else trial[1], trial[0]))


def read_facts(
    engine: Engine,
    record: StudyRecord,
    current: Standings,
    curves_of: Sequence[int] | None = None,
    now: Progress | None = None,
) -> Report:
    """Return the facts of a report, without answers and what a model says.

    Args:
        curves_of: the numbers of the trials whose curves are read; None for all.
        now: how far the study is, where that has been read already.
    """
    study, study_id = current.study, record.study_id
    records, curves = read_trials(engine, study_id), read_curves(engine, study_id, curves_of)
    times, happened = read_times(engine, study_id), read_events(engine, study_id)
    now = now or read_progress(engine, record, maximize=study.maximize)
    start = min((t.began for t in times.values()), default=record.created_at)
    scales = _scales(current)
    trials = tuple(
        _trial(study, scales, summary, trial, curves.get(summary.trial, ()), times.get(summary.trial), start)
        for summary, trial in zip(trial_summaries(study, records), records, strict=True)
    )
    workers, present = read_workers(engine, study_id), _since(start, datetime.now(UTC))
    events = tuple(ReportedEvent(_since(start, e.at), e.kind, e.slot, e.worker, e.detail) for e in happened)
    devices = {f"{w.host}:{w.pid}": w.device for w in workers}
    clock = DeviceClock(holdings(trials, events, present), devices)
    ended = max((t.ended for t in times.values() if t.ended), default=None)
    return Report(
        study=ReportedStudy(
            study.name, study.subject, study.model, study.data, study.metric, study.direction, study.constraints,
            study.epochs, now.budget, study.seed, study.strategy, study.pruner, state_of(now),
            len(study.prior), study.way, study.fixed, read_sizes(engine, study_id, study),
        ),
        hyperparameters=tuple(ReportedHyperparameter(name, study.tier_of(name), scales[name]) for name in scales),
        winner=read_winner(engine, record, current), runner_up=current.runner_up,
        cost=Cost(
            now.done, now.complete, now.pruned, now.failed, now.diverged, now.abandoned,
            now.ended_elsewhere, now.others.made,
            epochs=now.epochs_trained, epochs_planned=study.planned_epochs(now.budget),
            training_seconds=round(sum(t.seconds for t in records), 1),
            wall_seconds=max((t.ended or 0.0 for t in trials), default=0.0),
            workers=len(workers), hosts=len({w.host for w in workers}), devices=clock.until(present),
            began=start if times else None, ended=ended,
        ),
        trials=trials, importance=None,
        events=events,
        provenance=tuple(read_versions(engine, study_id)),
        machines=tuple(sorted({f"{w.host} ({w.device})" for w in workers})), devices=devices,
        began=start.isoformat(timespec="seconds"), now=present,
        parent=read_parent(engine, study_id), beside=read_begun_beside(engine, study.name),
        has_weights=current.winner is not None and CheckpointStore(engine, record).has(current.winner.trial),
    )  # fmt: skip


def concluded(report: Report) -> Report:
    """Return a report with its answers, and with what to do next."""
    answered = replace(report, answers=tuple(answers(report)))
    return replace(answered, steps=next_steps(_situation(answered)))


def _situation(report: Report) -> Situation:
    study, winner, parent = report.study, report.winner, report.parent
    advice = [Step(Reason.ADVICE, a.command, a.why) for a in report.answers if a.command and a.why]
    comparable = parent is not None and parent.is_there and parent.metric == study.metric
    return Situation(
        study.name, study.state, report.cost.done, study.budget, study.strategy, study.seed,
        winner=None if winner is None else winner.trial, runner_up=report.runner_up,
        is_measured=winner is None or winner.test is not None or not winner.has_test,
        has_weights=report.has_weights,
        confirmation=None if winner is None else winner.confirmation, advice=tuple(advice),
        parent=parent.study if parent is not None and comparable else None, beside=report.beside,
    )  # fmt: skip


def _scales(current: Standings) -> Mapping[str, BaseScale]:
    """Return the scale of each hyperparameter, by priority: the study's own, or those that its trials have named."""
    study = current.study
    named = named_scales(current.trials) if study.by_trials else {}
    return {shown(name): named[name] for name in sorted(named, key=study.tier_of)} or study.scales()


def _pairs(current: Standings, around: Around) -> tuple[ReportedPair, ...]:
    """Return the two largest interactions that are more than noise, with what is expected over each pair."""
    found = [(each, around.surface(each.first, each.second)) for each in interactions(current.study, current.trials)]
    return tuple(ReportedPair(**vars(each), surface=surface) for each, surface in found[:_PAIRS] if surface)


def _trial(
    study: Study, scales: Mapping[str, BaseScale], summary: TrialSummary, record: TrialRecord, curve: Sequence[Epoch],
    times: TrialTimes | None,
    start: datetime,
) -> ReportedTrial:  # fmt: skip
    return ReportedTrial(
        **vars(summary),
        began=_since(start, times.began) if times else None,
        ended=_since(start, times.ended) if times and times.ended else None,
        curve=tuple((e.epoch, rounded(e.value(study.metric))) for e in curve),
        metrics={name: tuple(rounded(e.value(name)) for e in curve) for name in metric_names(curve)},
        zoom=record.attributes.get("zoom"),
        units={
            name: round(scales[name].unit(value), 4)
            for name, value in summary.hyperparameters.items()
            if name in scales
        },
    )


def _since(start: datetime, at: datetime) -> float:
    return round((at - start).total_seconds(), 2)
