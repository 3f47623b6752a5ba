"""Were the trials trained for long enough, or for too long?

The study's own metric decides, since that is what the search is for. A validation loss that rises while an accuracy
does not fall is no reason to train shorter.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from enum import Enum

from caviar.studies.results.formatting import number
from caviar.studies.results.report.noise import NEAR, UNKNOWN, Noise
from caviar.studies.results.report.questions.commands import confirm, retune
from caviar.studies.results.report.records import Answer, Report, ReportedTrial
from caviar.studies.results.summaries import StudyState

_QUARTERS = 4  # of a curve: the last one is compared with those before
_SHORTEST = 8  # values of a curve that says anything: two in each quarter
_LATE = 0.75  # of the epochs: trials that were best later than that are not trained shorter
_WORSE = 0.1  # of the lowest validation loss above it: it rose

_TOO_SHORT = "The curves are too short to tell."


class _Trend(Enum):
    """How the metric of a trial goes at its end."""

    IMPROVES = "improves"
    LEVEL = "level"
    WORSENS = "worsens"


def length(report: Report, top: Sequence[ReportedTrial], noise: Noise | None) -> Answer:
    """Say whether the best trials still improve at their ends, or were best long before."""
    question, epochs, metric = "Were the trials trained for long enough?", report.study.epochs, report.study.metric
    trends = _trends(report, top, noise.deviation if noise else 0.0)
    if not trends:
        return Answer(question, _TOO_SHORT)
    if noise is None:
        return Answer(question, f"It is not clear: {UNKNOWN}.", confirm(report))
    improving = sum(trend is _Trend.IMPROVES for trend, _ in trends)
    best_at = [epoch for trend, epoch in trends if trend is _Trend.WORSENS]
    if 2 * improving > len(trends):
        longer = retune(report, "longer", f"--epochs {2 * epochs}") if epochs else None
        return Answer(
            question,
            f"No: {improving} of the best {len(trends)} still improve at their last epoch, by more than the noise "
            f"({number(noise.deviation)}).{_at_the_end(report, 'Train longer.')}",
            longer,
            "the best still improve at their end",
        )
    if 2 * len(best_at) > len(trends):
        epoch = math.ceil(statistics.median(best_at))
        shorter = retune(report, "shorter", f"--epochs {epoch}") if epoch <= _LATE * (epochs or 0) else None
        return Answer(
            question,
            f"For too long: the {metric} of {len(best_at)} of the best {len(trends)} was best around epoch {epoch}, "
            f"and is worse at the end by more than the noise ({number(noise.deviation)})."
            f"{_at_the_end(report, 'Train shorter.')}",
            shorter,
            f"the best were better around epoch {epoch}",
        )
    return Answer(
        question,
        f"Yes: {improving} of the best {len(trends)} still improve at their last epoch by more than the noise "
        f"({number(noise.deviation)}). {epochs or 'So many'} epochs are enough.",
    )


def _at_the_end(report: Report, what_to_do: str) -> str:
    """Return what to do, to follow an answer; nothing before the end of a study, whose trials cannot be changed."""
    return f" {what_to_do}" if report.study.state == StudyState.DONE else ""


def _trends(report: Report, top: Sequence[ReportedTrial], deviation: float) -> list[tuple[_Trend, int]]:
    """Return how each long enough curve ends, and around which epoch it was best."""
    sign = 1 if report.study.maximize else -1
    trends = []
    for t in top:
        curve = [(epoch, sign * value) for epoch, value in t.curve if value is not None]
        if len(curve) < _SHORTEST:
            continue
        width = len(curve) // _QUARTERS
        means = [statistics.mean(v for _, v in curve[at : at + width]) for at in range(len(curve) - width + 1)]
        best = max(range(len(means)), key=means.__getitem__)
        trend = _Trend.LEVEL
        if means[-1] - means[-1 - width] > deviation:
            trend = _Trend.IMPROVES
        elif means[best] - means[-1] > NEAR * deviation:
            trend = _Trend.WORSENS
        trends.append((trend, curve[best + width - 1][0]))
    return trends


def overfitting(report: Report, top: Sequence[ReportedTrial], noise: Noise | None, validation: str) -> Answer:
    """Say whether the validation loss of the best trials rose, and whether the study's metric became worse with it."""
    question, lowest_at, examined = "Do they overfit?", [], 0
    for t in top:
        losses = t.metrics.get(validation, ())
        finite = [loss for loss in losses if loss is not None]
        examined += len(finite) >= _SHORTEST
        if len(finite) >= _SHORTEST and losses[-1] is not None and losses[-1] > min(finite) + _WORSE * abs(min(finite)):
            lowest_at.append(t.curve[losses.index(min(finite))][0])
    if not examined:
        return Answer(question, _TOO_SHORT)
    if 2 * len(lowest_at) <= examined:
        return Answer(
            question, f"No: the validation loss of {examined - len(lowest_at)} of the best {examined} ends low."
        )
    lowest = (
        f"the validation loss of {len(lowest_at)} of the best {examined} was lowest around epoch "
        f"{math.ceil(statistics.median(lowest_at))}"
    )
    worsens = sum(trend is _Trend.WORSENS for trend, _ in _trends(report, top, noise.deviation if noise else 0.0))
    if report.study.metric == validation or 2 * worsens > examined:
        return Answer(question, f"Yes: {lowest}. More dropout or weight decay may help.")
    return Answer(
        question,
        f"They grow over-confident, but no worse: {lowest}, and their {report.study.metric} did not fall behind with "
        f"it. That is no reason to train shorter; weight decay or label smoothing may help.",
    )
