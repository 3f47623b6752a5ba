"""Compare the winner with the runner-up by fresh trainings of both: is it better, or was it luckier?

Each finished training (retraining.py) is an event of its study, so that an interruption loses only those under way.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from optuna.trial import FrozenTrial
from sqlalchemy import Engine

from caviar.storage.history import is_sound
from caviar.storage.trainings import read_trainings
from caviar.studies.definition import Study
from caviar.studies.results.formatting import alike, told_apart

_SURE = 0.95


class Comparison(StrEnum):
    """The outcome of a comparison of two trials by fresh trainings of both."""

    BETTER = "better"  # the winner's mean is higher, and the whole interval of the difference is above 0
    WORSE = "worse"  # the runner-up's is
    OPEN = "open"  # the interval contains 0, or there is none


@dataclass(frozen=True)
class Confirmation:
    """A comparison of the winner with the runner-up by fresh trainings of both.

    Attributes:
        runner_up: the number of the best trial of another configuration.
        winner_values, runner_up_values: the metric after the last epoch of each training, two at least.
        better_by: how much better the winner is on average; negative where it is worse.
        low, high: the 95 % confidence interval of that; None where no training differs from another of its trial.
    """

    study: str
    runner_up: int
    winner_values: tuple[float, ...]
    runner_up_values: tuple[float, ...]
    winner_mean: float
    runner_up_mean: float
    better_by: float
    low: float | None
    high: float | None
    verdict: Comparison


def runner_up(study: Study, trials: Sequence[FrozenTrial], winner: int) -> int | None:
    """Return the number of the best complete, sound trial of another configuration than the winner's.

    Of equal values the first trial is taken; None where there is no such trial. `trials` are the study's own.
    """
    values = {t.number: study.trained(t.params) for t in trials if is_sound(t)}
    sign = -1 if study.maximize else 1
    others = [t for t in trials if t.number in values and values[t.number] != values.get(winner)]
    best = min(others, key=lambda t: (sign * (t.value or 0.0), t.number), default=None)
    return None if best is None else best.number


def read_confirmation(
    engine: Engine, study_id: int, study: Study, winner: int, other: int | None
) -> Confirmation | None:
    """Compare the winner with the runner-up `other`; None before two fresh trainings of each are there."""
    trained = read_trainings(engine, study_id)
    if other is None or min(len(trained.get(number, ())) for number in (winner, other)) < 2:
        return None
    first, second = (tuple(value for _, value in sorted(trained[number].items())) for number in (winner, other))
    return compare(study, other, first, second)


def compare(study: Study, other: int, first: Sequence[float], second: Sequence[float]) -> Confirmation:
    """Compare the values of the winner's fresh trainings with those of the trial `other`."""
    sign = 1 if study.maximize else -1
    difference, low, high = welch([sign * value for value in first], [sign * value for value in second])
    return Confirmation(
        study.name, other, tuple(first), tuple(second), statistics.mean(first), statistics.mean(second),
        difference, low, high, _verdict(low, high),
    )  # fmt: skip


def _verdict(low: float | None, high: float | None) -> Comparison:
    if low is None or high is None:
        return Comparison.OPEN
    return Comparison.BETTER if low > 0 else Comparison.WORSE if high < 0 else Comparison.OPEN


def welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return by how much the mean of the first sample is larger, with the ends of its 95 % confidence interval.

    The interval is Welch's: the samples need not vary alike. Where neither varies at all there is none, and its ends
    are None: so few trainings have not shown their noise.

    Source: B. L. Welch, The generalization of "Student's" problem when several different population variances are
    involved, Biometrika 34 (1947), https://doi.org/10.1093/biomet/34.1-2.28.
    """
    from scipy.special import stdtrit

    difference = statistics.mean(first) - statistics.mean(second)
    shares = [statistics.variance(sample) / len(sample) for sample in (first, second)]
    squared = sum(shares)
    if squared == 0:
        return difference, None, None
    freedom = squared**2 / sum(s**2 / (len(x) - 1) for s, x in zip(shares, (first, second), strict=True))
    half = float(stdtrit(freedom, (1 + _SURE) / 2)) * math.sqrt(squared)
    return difference, difference - half, difference + half


def mean_of(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return the mean of at least two values, with the ends of its 95 % confidence interval, by Student's t; None where
    they are all equal."""
    from scipy.special import stdtrit

    mean, half = statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))
    half *= float(stdtrit(len(values) - 1, (1 + _SURE) / 2))
    return (mean, mean - half, mean + half) if half else (mean, None, None)


def in_words(confirmation: Confirmation) -> str:
    """Describe a confirmation in words, with the next step where the winner did not turn out to be better."""
    number, other = len(confirmation.winner_values), len(confirmation.runner_up_values)
    times = f"{number} times each" if number == other else f"{number} and {other} times"
    more = f"caviar best {confirmation.study} --confirm {2 * max(number, other)}"
    own, others = told_apart(confirmation.winner_mean, confirmation.runner_up_mean)
    means = (
        f"trained again {times} with fresh seeds, the winner comes to {own} on average, trial "
        f"{confirmation.runner_up} to {others}; {_difference(confirmation)}"
    )
    if confirmation.low is None:
        return f"{means}; all trainings of each came to the same value, which hides their noise: repeat more ({more})"
    verdicts = {
        Comparison.BETTER: ": more than the noise of a training",
        Comparison.WORSE: f": the runner-up is the better one, by more than the noise of a training; take its "
        f"hyperparameters (caviar trials {confirmation.study})",
        Comparison.OPEN: f", which the noise of a training may explain; more trainings may tell ({more})",
    }
    return f"{means}{verdicts[confirmation.verdict]}"


def _difference(confirmation: Confirmation) -> str:
    """Return in words by how much the winner was better, or worse, with the interval of that."""
    by, low, high = confirmation.better_by, confirmation.low, confirmation.high
    word = "worse" if by < 0 else "better"
    if low is None or high is None:
        return f"it was {word} by {alike(by)[0].removeprefix('-')}"
    size, first, last = alike(abs(by), *sorted((low, high) if by >= 0 else (-low, -high)))
    return f"it was {word} by {size}, {first} to {last} (95 %, Welch's t)"
