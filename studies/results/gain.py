"""The gain over the default in a study: measured where both were trained again, else expected, or of single values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from optuna.trial import FrozenTrial

from caviar.storage.history import is_sound
from caviar.studies.definition import Study
from caviar.studies.results.confirmation import welch
from caviar.studies.results.formatting import alike
from caviar.studies.search.expectation import WinnerModel
from caviar.studies.search.gain import default_trial, gain_over_default

_WIDE = 3.0  # times the gain: an interval that is wider says little more than its sign


class Basis(StrEnum):
    """What a gain is known from."""

    MEASURED = "measured"  # fresh trainings of both, at least two of each
    EXPECTED = "expected"  # the model that chooses the winner
    SINGLE = "single"  # one training of each: too few trials are finished for a model


@dataclass(frozen=True)
class Gain:
    """By how much the winner is better than the default configuration; below 0 where it is worse.

    Attributes:
        default: the number of the trial that had the default values.
        low, high: the ends of an interval; None without one.
        confidence: of the interval: 0.95 where it was measured, 0.9 where it is expected.
        is_vague: whether the interval is so wide that it says next to nothing: several times the gain, and more than
            half of what lies between the best and the worst complete trial.
    """

    default: int
    by: float
    low: float | None
    high: float | None
    basis: Basis
    is_vague: bool = False

    @property
    def confidence(self) -> float | None:
        """The confidence of the interval; None without one."""
        if self.low is None:
            return None
        return 0.95 if self.basis is Basis.MEASURED else 0.9


def gain_of(
    study: Study, trials: Sequence[FrozenTrial], winner: int, trained: Mapping[int, Mapping[int, float]],
    known: WinnerModel | None = None,
) -> Gain | None:  # fmt: skip
    """Return the gain of the winner over the default; None where no complete trial had the default values.

    Args:
        trials: those of the study's own slots.
        trained: the results of fresh trainings, by trial and training.
        known: the model of the trials, where there is one already.
    """
    default = default_trial(study, trials)
    if default is None:
        return None
    if winner != default and min(len(trained.get(number, ())) for number in (winner, default)) > 1:
        sign = 1 if study.maximize else -1
        by, low, high = welch(*([sign * value for value in trained[number].values()] for number in (winner, default)))
        return Gain(default, by, low, high, Basis.MEASURED, _is_vague(by, low, high, trials))
    found = gain_over_default(study, trials, winner, known)
    if found is None:
        return None
    by, low, high = found.by, found.low, found.high
    basis = Basis.SINGLE if low is None else Basis.EXPECTED
    return Gain(default, by, low, high, basis, _is_vague(by, low, high, trials))


def _is_vague(by: float, low: float | None, high: float | None, trials: Sequence[FrozenTrial]) -> bool:
    values = [t.value for t in trials if is_sound(t) and t.value is not None]
    if low is None or high is None or not values:
        return False
    return high - low > max(_WIDE * abs(by), (max(values) - min(values)) / 2)


def in_words(gain: Gain, winner: int) -> tuple[str, str]:
    """Return a gain as a person reads it: the number with its sign, and what it is, with its interval.

    Example:
        >>> in_words(Gain(0, 0.0139, 0.004, 0.0238, Basis.EXPECTED), 20)
        ('+0.0139', 'expected over the default (trial 0), +0.0040 to +0.0238 (90 %)')
    """
    if winner == gain.default:
        return "0", f"over the default, which is the winner itself (trial {winner})"
    over = f"over the default (trial {gain.default})"
    if gain.low is None or gain.high is None:
        single = "one training of each" if gain.basis is Basis.SINGLE else "all trainings of each were equal"
        return alike(gain.by, sign="+")[0], f"{over}; {single}, without an interval"
    by, low, high = alike(gain.by, gain.low, gain.high, sign="+")
    what = "expected " if gain.basis is Basis.EXPECTED else "measured "
    but = "; how much is hardly known yet:" if gain.is_vague else ","
    return by, f"{what}{over}{but} {low} to {high} ({gain.confidence:.0%})".replace("%)", " %)")
