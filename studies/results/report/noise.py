"""Estimate the noise of a study's values: how much one configuration varies from training to training.

Trainings of one configuration with other seeds show it. Without any, two things bound it from below: how much the
curves of good trials vary at their ends, and the sampling error of the validation set.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from caviar.models.data_sets import DATA_SETS
from caviar.studies.results.report.records import Report, ReportedTrial
from caviar.studies.results.winner import Winner

NEAR = 2.0  # times the noise: values closer together than that may differ by luck alone
UNKNOWN = "one training of each does not show how much they vary"
_TOP = 5  # of the best trials, whose curves are examined
_LAST = 4  # epochs of them
_LONG = 2 * _LAST  # epochs: the last ones of a shorter curve show how fast it rises, not how much it varies
_FREEDOM = 4  # degrees, for a standard deviation that means something: of two trainings it may be anything


@dataclass(frozen=True)
class Noise:
    """The standard deviation of one training's value, above 0, and what shows it."""

    deviation: float
    source: str


def noise_of(report: Report, winner: Winner, best: Sequence[ReportedTrial]) -> Noise | None:
    """Return the noise of a study's values; None where nothing shows it. `best` are its sound trials, best first."""
    confirmed = winner.confirmation
    if confirmed and (deviation := _pooled([confirmed.winner_values, confirmed.runner_up_values])):
        return Noise(deviation, "as fresh trainings of the best two show")
    if deviation := _pooled(_repeated(best)):
        return Noise(deviation, "as configurations that were trained more than once show")
    at_least = {
        "as the last epochs of the best trials show": _of_epochs(best[:_TOP]),
        f"as {_validation(report) or 0:,} validation examples alone make it": _of_sample(report, best),
    }
    source, deviation = max(at_least.items(), key=lambda item: item[1])
    return Noise(deviation, source) if deviation > 0 else None


def _pooled(groups: Iterable[Sequence[float]]) -> float:
    """Return the standard deviation within groups; 0 where they are too few."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in several)
    return math.sqrt(squares / freedom) if freedom >= _FREEDOM else 0.0


def _repeated(trials: Iterable[ReportedTrial]) -> Iterable[list[float]]:
    values: dict[tuple[tuple[str, Any], ...], list[float]] = defaultdict(list)
    for t in trials:
        if t.value is not None:
            values[tuple(sorted(t.hyperparameters.items()))].append(t.value)
    return values.values()


def _of_epochs(trials: Iterable[ReportedTrial]) -> float:
    ends = [[value for _, value in t.curve[-_LAST:] if value is not None] for t in trials if len(t.curve) >= _LONG]
    spreads = [statistics.stdev(end) for end in ends if len(end) >= 3]
    return statistics.median(spreads) if spreads else 0.0


def _of_sample(report: Report, best: Sequence[ReportedTrial]) -> float:
    """Return the binomial error of the best accuracy; 0 for a loss, or if the number of examples is not known.

    No wrong example counts as half a wrong one: a perfect score on few examples isn't certainty.
    """
    examples = _validation(report)
    if examples is None or report.study.metric != "accuracy":
        return 0.0
    least = 0.5 / examples
    rate = min(max(best[0].value or 0.0, least), 1 - least)
    return math.sqrt(rate * (1 - rate) / examples)


def _validation(report: Report) -> int | None:
    """Return the number of validation examples; None for a data set that this machine does not know."""
    known = DATA_SETS.get(report.study.data or "")
    return known.validation if known else None
