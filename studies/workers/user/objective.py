"""Train a trial by an objective of Optuna's, which reports its epochs and ends by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import optuna
from greenlet import getcurrent, greenlet
from optuna.distributions import distribution_to_json

from caviar.epoch import Epoch
from caviar.limits import EPOCHS
from caviar.models.training import Interrupted, never
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loop import EpochLeft
from caviar.studies.workers.user.padding import padded
from caviar.studies.workers.user.seeds import seed_all
from caviar.studies.workers.user.turns import Pause
from caviar.text import quoted

_STEP = "step"  # the metric that has the objective's own counting, where that is not the number of the epoch


@dataclass(frozen=True)
class Outcome:
    """How an objective ended: with the value that it returned; or pruned, for a reason."""

    value: float | None
    pruned: str | None = None


class ObjectiveTraining:
    """The training of a trial by an objective, which takes turns with the worker.

    The objective runs in a flow of its own: its first report with a new step is epoch 1, the next one epoch 2. Where it
    reports nothing, its value is its only epoch. Nothing is saved: an interrupted trial begins again.

    Args:
        objective: called with the trial.
        make_trial: makes the trial of this training.
        seed: what the trial's random numbers depend on.
        metric: the name of what the objective reports and returns.
        reason_to_prune: returns why the pruner would end the trial after its last epoch; None if it would not.

    Attributes:
        epoch: the last epoch that was reported; 0 before the first.
        killed: why somebody ended the trial, if somebody did. The objective hears it when it asks whether to stop; one
            that does not ask is left.
        outcome: how the objective ended; None while it runs.
    """

    def __init__(
        self,
        objective: Callable[[Any], object],
        make_trial: Callable[[ObjectiveTraining], optuna.trial.Trial],
        seed: tuple[int | str, ...],
        metric: str,
        reason_to_prune: Callable[[], str | None],
    ) -> None:
        self.epoch = 0
        self.killed: str | None = None
        self.outcome: Outcome | None = None
        self._objective, self._make_trial, self._seed, self._metric = objective, make_trial, seed, metric
        self._reason_to_prune = reason_to_prune
        self._leave: Callable[[], bool] = never
        self._is_left = False  # the objective is to be unwound, whatever it does about that
        self._asks = False  # whether it has asked to be pruned
        self._answer: str | None = None  # the pruner's, since the last report
        self._last: float | None = None  # the last value that was reported
        self._since = 0.0
        self._worker, self._user = getcurrent(), greenlet(self._call)
        self._trial: optuna.trial.Trial | None = None  # once the objective runs

    @property
    def suggested(self) -> dict[str, str]:
        """The distributions that the objective has named so far, by hyperparameter, as Optuna's JSON."""
        kinds = {} if self._trial is None else self._trial.distributions
        return {name: distribution_to_json(kind) for name, kind in kinds.items()}

    def epochs(self, last: int, leave: Callable[[], bool]) -> Iterator[Epoch]:  # noqa: ARG002
        """Let the objective go on, and yield each epoch that it reports, until it has ended.

        Raises:
            Interrupted: it was left. Whatever it raises is raised, too.
        """
        self._leave = leave
        while not self._user.dead:
            message = self._user.switch()
            if message is Pause.LEFT:
                raise Interrupted
            if isinstance(message, Epoch):
                yield message

    def run(self, leave: Callable[[], bool]) -> float | None:
        """Let the objective come to its end, and return its value; as `epochs` does otherwise."""
        for _ in self.epochs(EPOCHS, leave):
            pass
        return self.outcome.value if self.outcome else None

    def state(self) -> None:
        """Return None: nothing of an objective is saved."""
        return

    def close(self, ended: Ended) -> None:  # noqa: ARG002
        """Leave the objective, if it has not ended."""
        self._leave = lambda: True
        while not self._user.dead:
            self._user.switch()

    def report(self, step: int, value: float) -> None:
        """Give the worker its turn, with the next epoch; called within the objective.

        Raises:
            EpochLeft: the objective is to be left.
            TrialMisused: it has reported too often.
        """
        self.check()
        if self.killed is not None:  # it was told so, and went on
            self.unwind()
        if self.epoch >= EPOCHS:
            raise TrialMisused(f"the objective has reported more than {EPOCHS:,} values; report fewer of them")
        self._give(step, value)
        self.check()
        if self.killed is not None and self.epoch > 1 and not self._asks:
            self.unwind()

    def is_to_stop(self) -> bool:
        """Return whether the objective is to end itself as pruned; called within the objective.

        Raises:
            EpochLeft: the objective is to be left.
        """
        self.check()
        self._asks = True
        self._answer = self.killed or self._reason_to_prune()
        return self._answer is not None

    def check(self) -> None:
        """Raise EpochLeft if the objective is to be left; called within the objective."""
        if self._is_left or self._leave():
            self.unwind()

    def unwind(self) -> NoReturn:
        """Raise EpochLeft, now and whenever the objective asks its trial for something."""
        self._is_left = True
        raise EpochLeft

    def _give(self, step: int, value: float) -> None:
        self.epoch, self._last, self._answer = self.epoch + 1, value, None
        metrics = {self._metric: value}
        if step not in (self.epoch - 1, self.epoch) and self._metric != _STEP:
            metrics[_STEP] = float(step)
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self._worker.switch(Epoch(self.epoch, metrics, seconds))

    def _call(self) -> Pause:
        seed_all(*self._seed)
        self._since = time.perf_counter()
        try:
            self._trial = self._make_trial(self)
            returned = padded(partial(self._objective, self._trial))
        except EpochLeft:
            return self._left()
        except optuna.TrialPruned:
            if self._is_left:
                return self._left()
            return self._pruned(self._answer or f"the objective ended it after epoch {self.epoch}")
        if self._is_left:  # and held the exception that was to unwind it
            return self._left()
        value = _value(returned)
        if not self.epoch:
            self._give(1, value)
        self.outcome = Outcome(value)
        return Pause.RETURNED

    def _left(self) -> Pause:
        """Return that the objective was left; but one that somebody ended has ended by that."""
        if self.killed is None:
            return Pause.LEFT
        return self._pruned(self.killed)

    def _pruned(self, why: str) -> Pause:
        last = None if self._last is None or math.isnan(self._last) else self._last  # Optuna's tables have no NaN
        self.outcome = Outcome(last, why)
        return Pause.RETURNED


def _value(returned: object) -> float:
    """Return the value of a trial, as Optuna takes it from an objective."""
    if isinstance(returned, Sequence) and not isinstance(returned, str):
        if len(returned) != 1:
            raise TrialMisused(
                f"the objective returned {len(returned)} values; Caviar searches by one: return that, and give the "
                f"others to trial.set_user_attr or trial.set_constraint"
            )
        returned = returned[0]
    if returned is None:
        raise TrialMisused("the objective returned None; return the value of the trial")
    try:
        value = float(returned)  # type: ignore[arg-type]  # a tensor of one element is a number, too
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise TrialMisused(f"the objective returned {quoted(returned)}, which is no number") from None
    if math.isnan(value):
        raise TrialMisused("the objective returned nan, which is no value")
    return value
