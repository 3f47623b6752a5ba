"""The noise of a study's values: how much one training of a configuration differs from another. One number for all that
is said of a study.

Fresh trainings of one configuration show it, and so do trials that repeat one. Without them the model of the winner
says what of the values the hyperparameters do not explain. That may be far too much, where a few steps in the space
make a network learn or not, so the sampling error of the validation set keeps it within bounds.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from optuna.trial import FrozenTrial

from caviar.storage.history import is_sound
from caviar.studies.search.expectation import WinnerModel
from caviar.studies.search.least_trials import FEW
from caviar.studies.space.search_space import SearchSpace

_FREEDOM = 4  # degrees, for a standard deviation that means something: of two trainings it may be anything
# Times the sampling error of the validation accuracy. In 13 of 15 studies of benchmarks/advice.py that have one, the
# deviation of 20 fresh trainings is within these bounds; the model's alone is up to 20 times too large.
_LEAST, _MOST = 0.5, 3.0


class Basis(StrEnum):
    """What the noise is known from."""

    FRESH = "fresh trainings"
    REPEATED = "configurations that were trained more than once"
    MODEL = "a model of all trials"
    EXAMPLES = "the number of validation examples"


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a single training's metric, above 0, and what shows it.

    Example:
        >>> str(Noise(0.0047, Basis.FRESH))
        '0.0047 (from fresh trainings)'
    """

    deviation: float
    basis: Basis

    def __str__(self) -> str:
        return f"{self.deviation:.2g} (from {self.basis})"


@dataclass(frozen=True)
class Evidence:
    """What shows the noise of a study's trainings beside its trials.

    Attributes:
        trainings: the metric of fresh trainings, by trial and by the training's number.
        examples: how many an accuracy is measured on; None of any other metric, or where that is not known.
    """

    trainings: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    examples: int | None = None


def noise_of(
    space: SearchSpace,
    trials: Sequence[FrozenTrial],
    winner: int,
    known: WinnerModel | None = None,
    evidence: Evidence | None = None,
) -> Noise | None:
    """Return the noise of a study's values near its winner; None where nothing shows it.

    Args:
        known: the model of these trials, where there is one already.
    """
    evidence = evidence or Evidence()
    if deviation := _pooled(values.values() for values in evidence.trainings.values()):
        return Noise(deviation, Basis.FRESH)
    if deviation := _pooled(_repeated(trials)):
        return Noise(deviation, Basis.REPEATED)
    sample = _sampling_error(trials, evidence.examples, maximize=space.maximize)
    of_model = _of_model(known or WinnerModel(space, trials), winner)
    if not of_model:
        return Noise(sample, Basis.EXAMPLES) if sample else None
    bounded = min(max(of_model, _LEAST * sample), _MOST * sample) if sample else of_model
    return Noise(bounded, Basis.MODEL if bounded == of_model else Basis.EXAMPLES)


def _pooled(groups: Iterable[Iterable[float]]) -> float:
    """Return the standard deviation within groups; 0 where they are too few."""
    several = [values for group in groups if len(values := list(group)) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in several)
    return math.sqrt(squares / freedom) if freedom >= _FREEDOM else 0.0


def _repeated(trials: Iterable[FrozenTrial]) -> Iterable[list[float]]:
    values: dict[tuple[tuple[str, object], ...], list[float]] = defaultdict(list)
    for t in trials:
        if is_sound(t) and t.value is not None:
            values[tuple(sorted(t.params.items()))].append(t.value)
    return values.values()


def _sampling_error(trials: Iterable[FrozenTrial], examples: int | None, *, maximize: bool) -> float:
    """Return the binomial error of the best accuracy; 0 if the number of examples is not known.

    No wrong example counts as half a wrong one: a perfect score on few examples isn't certainty.
    """
    values = [t.value for t in trials if is_sound(t) and t.value is not None]
    if not examples or not values:
        return 0.0
    best, least = (max if maximize else min)(values), 0.5 / examples
    rate = min(max(best, least), 1 - least)
    return math.sqrt(rate * (1 - rate) / examples)


def _of_model(known: WinnerModel, winner: int) -> float:
    """Return the noise of the model of the winner, in the metric's unit; 0 with too few trials for one."""
    model, rows = known.fitted(FEW), known.observed.numbers == winner
    if model is None or not rows.any():
        return 0.0
    return model.noise * model.unit_at(known.observed.points[rows][:1])
