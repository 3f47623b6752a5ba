"""End a study before its budget is spent, where its rule says that more trials would bring too little."""

from __future__ import annotations

from psycopg2.errors import InsufficientPrivilege
from sqlalchemy.exc import ProgrammingError

from caviar.studies.lifecycle.evidence import read_evidence
from caviar.studies.lifecycle.manager import end_study_early
from caviar.studies.search.prospect import prospect_of
from caviar.studies.search.until import BUDGET, is_reached
from caviar.studies.workers.context import WorkerContext

_STEP = 10  # finished trials between two looks: a rule that is looked at more often is met by chance more often


def end_if_reached(context: WorkerContext) -> None:
    """End the study of a worker after one of its trials, if its rule is reached; a look at every tenth finished trial.

    Trials that have begun go on; while trials wait that somebody enqueued, the study does not end.
    """
    study, history = context.study, context.history
    if study.until == BUDGET:
        return
    context.outage.insist(history.refresh)
    trials = history.own()
    tens = sum(trial.state.is_finished() for trial in trials) // _STEP
    if tens <= context.tens_looked_at or history.waiting():
        return
    context.tens_looked_at = tens
    evidence = context.outage.insist(lambda: read_evidence(context.engine, context.record.study_id, study))
    prospect = prospect_of(study, trials, evidence=evidence)
    if prospect is None or not is_reached(study.until, prospect):
        return
    try:
        context.outage.insist(lambda: end_study_early(context.engine, context.record, str(prospect)))
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        # A worker's own role may not change a study: it is left to a worker of the study's owner.
