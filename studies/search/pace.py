"""The pruner `pace`: a trial is measured by how long the best one needed to be where it is.

Chosen on curves of trained networks, by benchmarks/search/pruning.py. Early in a schedule with a warm-up, accuracy says
little about the end: the rank correlation of the one after 3 of 20 to 100 epochs with the last one is 0.41 and 0.10 on
ImageNet. So epochs are counted as shares of the schedule, the first of which are free, and a trial that has caught up
to half of the best one's pace goes on, however late it began to learn.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from caviar.studies.errors import DefinitionError
from caviar.studies.search.pruner import WARM_UP, PastTrials, Pruner, last_epoch, sound

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from caviar.studies.space.base import BaseScale

EPOCHS = "epochs"  # the hyperparameter that is the length of a trial's schedule, where a study searches it
_FREE = 0.05  # of the schedule
_SLOWER = 2  # times as slow as the best trial
_SURE = 2  # running trials that must be better, if the best is one of them


class PacePruner(Pruner):
    """Stops a trial that learns at less than half the pace of the best one, complete or running on the same worker.

    Its best value so far is below what that trial had after half as many epochs, and in the latter half of its epochs
    it has come less far on that trial's curve than in half as many. Nothing is stopped in the first three epochs, and
    in the first 5 % of the schedule.

    It compares with the best, so the many good trials at the end of a search are not measured against one another; in
    time, so it needs no idea of how values spread; and with running trials, since the first ones of a search would
    otherwise all be trained to their ends. One of those may yet diverge: if only running trials are better, there must
    be two of them.

    Args:
        epochs: of a trial's schedule, where the study does not search a hyperparameter of the name `epochs`, which is
            that of each trial.
        lengths: the scale of that hyperparameter; None if its values are stored as they are.
        free: epochs in which nothing is stopped, such as those of a warm-up, instead of the 3 and the 5 %.
    """

    def __init__(self, epochs: int | None = None, lengths: BaseScale | None = None, *, free: int | None = None) -> None:
        super().__init__(epochs, lengths)
        if free is not None and (not isinstance(free, int) or isinstance(free, bool) or free < 0):
            raise DefinitionError(f"pace(free=...) is a number of epochs, 0 or more; given {free!r}")
        self._free = free

    def reason_to_stop(self, past: PastTrials, trial: FrozenTrial, running: Sequence[FrozenTrial]) -> str | None:
        epoch, length = last_epoch(trial), self._length(trial)
        if epoch <= self._free_epochs(length):
            return None
        study = past.complete(0)
        sign = 1 if study.direction.name == "MAXIMIZE" else -1
        others = [_Curve(other, sign) for other in (*sound(study), *running) if other.intermediate_values]
        best = max(others, key=lambda other: other.standing, default=None)
        if best is None:
            return None
        of_best = self._length(best.trial)
        stretch = of_best / length if length and of_best else 1.0
        own, early, half = _Curve(trial, sign), math.ceil(epoch * stretch / _SLOWER), math.ceil(epoch / 2)
        # A curve that is worse again sets no pace by what it was.
        if own.standing >= min(best.until(early), best.standing):
            return None
        lately = best.epochs_to(own.standing) - best.epochs_to(own.until(half))
        if epoch > half and lately >= (epoch - half) * stretch / _SLOWER:
            return None
        if best.trial.value is None and sum(other.standing > own.standing for other in others) < _SURE:
            return None
        return (
            f"at epoch {epoch} not yet where trial {best.trial.number}, the best, was at epoch {early}; "
            f"since epoch {half} at less than half its pace"
        )

    def _free_epochs(self, length: float | None) -> int:
        if self._free is not None:
            return self._free
        return max(WARM_UP, math.ceil(_FREE * length) if length else 0)

    def _length(self, trial: FrozenTrial) -> float | None:
        """Return how many epochs the schedule of a trial has; None if nobody knows."""
        own = trial.params.get(self.lengths.stored_name(EPOCHS) if self.lengths else EPOCHS)
        if self.lengths and own is not None:
            own = self.lengths.from_stored(own)
        return own if isinstance(own, int | float) and own > 0 else self.epochs


class _Curve:
    """The best value so far after each epoch of a trial, where higher is better.

    Attributes:
        standing: where the trial is: its value, or the best one so far of one that runs.
    """

    def __init__(self, trial: FrozenTrial, sign: int) -> None:
        self.trial = trial
        self._epochs = sorted(trial.intermediate_values)
        self._best = list(accumulate((sign * trial.intermediate_values[e] for e in self._epochs), max))
        self.standing = self._best[-1] if trial.value is None else sign * trial.value

    def until(self, epoch: int) -> float:
        """Return the best value of the epochs up to one."""
        reached = bisect_right(self._epochs, epoch)
        return self._best[reached - 1] if reached else -math.inf

    def epochs_to(self, value: float) -> float:
        """Return how many epochs it took to reach a value, linear between two of them; all of them if it never did."""
        place = bisect_left(self._best, value)
        if place == 0:
            return self._epochs[0] if value == self._best[0] else 0.0
        if place == len(self._best):
            return self._epochs[-1]
        (low, high), (first, last) = self._best[place - 1 : place + 1], self._epochs[place - 1 : place + 1]
        return first + (last - first) * (value - low) / (high - low)
