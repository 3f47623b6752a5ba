"""End a study before its budget is spent, where its rule says that more trials would bring too little."""

from __future__ import annotations

from caviar.studies.lifecycle.manager import end_early
from caviar.studies.search.prospect import MORE, prospect_of
from caviar.studies.search.until import BUDGET, is_reached
from caviar.studies.workers.context import WorkerContext


def end_if_reached(context: WorkerContext) -> None:
    """End the study of a worker after one of its trials, if its rule is reached. Trials that have begun go on."""
    study, history = context.study, context.history
    if study.until == BUDGET:
        return
    context.outage.insist(history.refresh)
    trials = history.get_all_trials(0)
    left = study.budget - sum(trial.state.is_finished() for trial in trials)
    if left < 1:
        return
    prospect = prospect_of(study, trials, min(MORE, left))
    if prospect is not None and is_reached(study.until, prospect):
        why = f"{prospect}; the study's rule is {study.until}"
        context.outage.insist(lambda: end_early(context.engine, context.record, why))
