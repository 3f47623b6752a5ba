"""Were the trials trained for long enough, or for too long?

The study's own metric decides, since that is what the search is for. A validation loss that rises while an accuracy
does not fall is no reason to train shorter.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product

from caviar.studies.results.report.questions.commands import confirm, retune
from caviar.studies.results.report.questions.noise import UNKNOWN, differs
from caviar.studies.results.report.records import Answer, Report, ReportedTrial
from caviar.studies.results.summaries import StudyState
from caviar.studies.search.noise import Noise

_QUARTERS = 4  # of a curve: the last one is compared with those before
_SHORTEST = 8  # values of a curve that says anything: two in each quarter
_FEWEST = 4  # curves: with fewer, even if all agree that may be chance
_LATE = 0.75  # of the epochs: trials that were best later than that are not trained shorter
_WORSE = 0.1  # of the lowest validation loss above it: it rose
# How likely the best trials are to agree so well by chance, and what share of the noise a change is to be worth. With
# these, 23 studies of benchmarks/advice.py had the same advice before their winners were trained again, and after.
_CHANCE, _WORTH = 1 / 16, 0.25

_TOO_SHORT = "The curves are too short or too few to tell."


class Trend(Enum):
    """How the metric of the best trials goes at their end."""

    IMPROVES = "improves"
    LEVEL = "level"
    WORSENS = "worsens"
    UNCLEAR = "unclear"  # they do not agree


@dataclass(frozen=True)
class _Course:
    """How the best trials went on together.

    Attributes:
        trials: how many there are.
        gains: by how much the mean of the last quarter of each is better than that of the quarter before.
        falls: by how much that of the quarter in which they were best together is better than that of the last.
        best_until: the last epoch of that quarter.
    """

    trials: int
    gains: Sequence[float]
    falls: Sequence[float]
    best_until: int

    def trend(self, noise: float) -> Trend:
        """Return what most of them do by more than chance, and by as much as is worth to be said."""
        for trend, changes in ((Trend.IMPROVES, self.gains), (Trend.WORSENS, self.falls)):
            if statistics.mean(changes) >= _WORTH * noise and _chance_of(changes) <= _CHANCE:
                return trend
        return Trend.LEVEL if abs(statistics.mean(self.gains)) < _WORTH * noise else Trend.UNCLEAR


def length(report: Report, top: Sequence[ReportedTrial], noise: Noise | None) -> Answer:
    """Say whether the best trials still improve at their ends, or were best long before."""
    question, epochs, metric = "Were the trials trained for long enough?", report.study.epochs, report.study.metric
    course = _course(report, top)
    if course is None:
        return Answer(question, _TOO_SHORT)
    if noise is None:
        return Answer(question, f"It is not clear: {UNKNOWN}.", confirm(report))
    best, end = f"the best {course.trials}", differs(noise)
    gain, fall = statistics.mean(course.gains), statistics.mean(course.falls)
    then = f"from the third quarter of their epochs to the last {best} became {_by(gain)} on average"
    match course.trend(noise.deviation):
        case Trend.IMPROVES:
            longer = retune(report, "longer", f"--epochs {2 * epochs}") if epochs else None
            answer = f"No: {then}; {end}.{_at_the_end(report, 'Train longer.')}"
            return Answer(question, answer, longer, "the best still improve at their end")
        case Trend.WORSENS:
            epoch = course.best_until
            shorter = retune(report, "shorter", f"--epochs {epoch}") if epoch <= _LATE * (epochs or 0) else None
            answer = (
                f"For too long: the {metric} of {best} was best around epoch {epoch}, and is {_by(-fall)} on average "
                f"at the end; {end}.{_at_the_end(report, 'Train shorter.')}"
            )
            return Answer(question, answer, shorter, f"the best were better around epoch {epoch}")
        case Trend.UNCLEAR:
            others = sum(change * gain <= 0 for change in course.gains)
            but = f", but {others} of them did not" if others else ", and one of them by far most"
            return Answer(question, f"It is not clear: {then}{but}; {end}.")
    return Answer(question, f"Yes: {then}, less than a quarter of the noise; {end}.")


def _by(gain: float) -> str:
    """Return by how much a metric became better or worse."""
    return f"{'worse' if gain < 0 else 'better'} by {abs(gain):.2g}"


def _at_the_end(report: Report, what_to_do: str) -> str:
    """Return what to do, to follow an answer; nothing before the end of a study, whose trials cannot be changed."""
    return f" {what_to_do}" if report.study.state == StudyState.DONE else ""


def _course(report: Report, top: Sequence[ReportedTrial]) -> _Course | None:
    """Return how the longest ones of these trials went on; None where too few are long enough."""
    sign = 1 if report.study.maximize else -1
    curves = [[(epoch, sign * value) for epoch, value in t.curve if value is not None] for t in top]
    most = max(map(len, curves), default=0)
    curves = [curve for curve in curves if len(curve) == most]
    if most < _SHORTEST or len(curves) < _FEWEST:
        return None
    width = most // _QUARTERS
    means = [
        [statistics.mean(v for _, v in curve[at : at + width]) for at in range(most - width + 1)] for curve in curves
    ]
    together = [statistics.mean(each) for each in zip(*means, strict=True)]
    best = max(range(len(together)), key=together.__getitem__)
    return _Course(
        len(curves),
        [mean[-1] - mean[-1 - width] for mean in means],
        [mean[best] - mean[-1] for mean in means],
        curves[0][best + width - 1][0],
    )


def _chance_of(changes: Sequence[float]) -> float:
    """Return the probability of a mean as large as theirs, were each change as likely to have the other sign.

    Source: R. A. Fisher, The Design of Experiments (1935), section 21: an exact test for a few pairs of any kind.
    """
    found = sum(changes)
    sums = [sum(s * c for s, c in zip(signs, changes, strict=True)) for signs in product((1, -1), repeat=len(changes))]
    return sum(each >= found or math.isclose(each, found) for each in sums) / len(sums)


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
    course = _course(report, top)
    worsens = course is not None and course.trend(noise.deviation if noise else 0.0) is Trend.WORSENS
    if report.study.metric == validation or worsens:
        return Answer(question, f"Yes: {lowest}.")
    return Answer(
        question,
        f"They grow over-confident, but no worse: {lowest}, and their {report.study.metric} did not fall behind with "
        f"it. That is no reason to train shorter.",
    )
