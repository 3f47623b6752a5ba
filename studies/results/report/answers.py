"""Answers to the questions that every report should settle: a sentence with its evidence, and the command to act on it.

No two commands exclude one another, and what the trials cannot tell is said to be open. Source of the questions: Google
Research, Deep Learning Tuning Playbook, "Extracting insight from experiment results",
https://github.com/google-research/tuning_playbook.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from caviar.studies.results.report.questions.limits import constrained, diverged
from caviar.studies.results.report.questions.luck import ahead
from caviar.studies.results.report.questions.space import edge, enough, order
from caviar.studies.results.report.questions.training import length, overfitting
from caviar.studies.results.report.records import Answer, Report, ReportedTrial
from caviar.studies.results.summaries import StudyState

TOP = 5  # of the best trials, whose curves are examined


def answers(report: Report) -> list[Answer]:
    """Return the answers that a study's trials allow; without a winner only how many trials diverged.

    What depends on the whole search is not answered before its end: later phases look at other places.
    """
    if report.winner is None:
        return [diverged(report)] if report.cost.done else []
    best = report.best_first()
    noise = report.winner.noise  # one for all answers
    limits = [diverged(report), *([constrained(report, report.winner)] if report.study.constraints else [])]
    training = [
        length(report, best[:TOP], noise),
        *([overfitting(report, best[:TOP], noise, report.losses[1])] if report.losses else []),
    ]
    if report.study.state != StudyState.DONE:
        return [_unfinished(report, best), *limits, *(replace(answer, command=None) for answer in training)]
    return [
        edge(report, report.trials[report.winner.trial]),
        enough(report, best, noise),
        *limits,
        *training,
        ahead(report, report.winner, noise),
        order(report),
    ]


def _unfinished(report: Report, best: Sequence[ReportedTrial]) -> Answer:
    done, budget = report.cost.done, report.study.budget
    return Answer(
        "How far is it?",
        f"{done} of {budget} trials have ended, {len(best)} of them complete. The edges of the ranges, the number of "
        f"points and the order of the hyperparameters are judged when all have: later phases look at other places."
        + (f" {prospect}." if (prospect := report.winner and report.winner.prospect) else ""),
    )
