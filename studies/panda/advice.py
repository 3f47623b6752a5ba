"""Read a day's learning curve: is the model better than before, and what should be changed? Nothing is changed here.

The reading of curves is that of Andrew Ng, Improving Deep Neural Networks, week 3 (babysitting a model), and of the
Deep Learning Tuning Playbook (https://github.com/google-research/tuning_playbook), "training curves".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

from caviar.epoch import ACCURACY, LEARNING_RATE, TRAINING_LOSS, VALIDATION_LOSS, Epoch
from caviar.studies.space.base import BaseScale

_NOISE_EPOCHS = 10  # the last epochs before a day, on which noise is measured
_RISEN = 1.02  # factor of a training loss: more than the wobble of a mean over all examples
_SMALL, _LARGE, _LARGEST = 3.0, 10.0, 100.0  # factors by which the learning rate is changed
_SLOW = 0.3  # the share of the training loss that a slow epoch takes away at most
_NEARLY_DONE = 0.1  # share of the loss at birth; below it, a loss that falls slowly is not too slow
_OVERFITTING_EPOCHS = 3  # in a row
_FALLEN = 0.98  # factor of a validation loss: more than its wobble
_VISIBLE = 1.3  # factor of the learning rate: a change that would show


class Outcome(StrEnum):
    """How a day ended, against the day before."""

    BETTER = "better"  # by more than the noise
    WORSE = "worse"  # by more than the noise
    NO_DIFFERENT = "no different"  # the difference is within the noise
    FIRST = "the first"  # that the metric was measured in: there is nothing to compare it with
    BORN = "born"  # the first day: the model is measured before anything is done to it
    DIVERGED = "diverged"  # a loss was not finite
    OUT_OF_MEMORY = "out of memory"  # twice
    FAILED = "failed"  # the model or its training raised
    ABANDONED = "abandoned"  # somebody went back, or ended its trial with another Optuna program, before it was over
    UNFINISHED = "unfinished"  # it is being trained, or waits for it


@dataclass(frozen=True)
class Verdict:
    """The judgement of a day.

    Attributes:
        difference: of the metric between the ends of the day and of the day before; above 0 is better.
        noise: the root mean square of the metric's falls from epoch to epoch; of an accuracy, at least its standard
            error on the validation examples.
    """

    word: Outcome
    difference: float = 0.0
    noise: float = 0.0

    def __str__(self) -> str:
        """Return the outcome in words, with the figures that it rests on."""
        if self.word in (Outcome.BETTER, Outcome.WORSE, Outcome.NO_DIFFERENT):
            return f"{self.word} ({self.difference:+.4f}, noise {self.noise:.4f})"
        return str(self.word)


@dataclass(frozen=True)
class Advice:
    """A recommendation, with its reason.

    Attributes:
        why: what the curve shows, and what that means.
        settings: the settings to change; empty where none should be.
        back: the day to go back to before the settings are changed; None to stay.
        commands: the commands that follow the advice, the last of which trains.
    """

    why: str
    settings: Mapping[str, float] = field(default_factory=dict)
    back: int | None = None
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """The epochs of a day that are judged: all of a day that has ended, or those since its last nudge.

    Attributes:
        before: the epochs that they build on, from the birth on.
        settings: the settings of the last of its own epochs.
        parent: the day to go back to.
        too_high: learning rates that were too high on any branch.
    """

    before: Sequence[Epoch]
    own: Sequence[Epoch]
    settings: Mapping[str, Any]
    parent: int
    too_high: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """The learning rate of the last epoch, after its decay."""
        return self.own[-1].metrics[LEARNING_RATE]

    @property
    def rate_was_raised(self) -> bool:
        """Whether the learning rate is larger than before; False on the day after the birth."""
        return len(self.before) > 1 and self.own[0].metrics[LEARNING_RATE] > self.before[-1].metrics[LEARNING_RATE]


def judge(window: Window, metric: str, *, maximize: bool, examples: int) -> Verdict:
    """Compare a whole day with the one before; `examples` is the size of the validation set."""
    sign = 1 if maximize else -1
    earlier, own = (
        [sign * epoch.metrics[metric] for epoch in epochs if metric in epoch.metrics]
        for epochs in (window.before, window.own)
    )
    values = [*earlier, *own]
    difference = values[-1] - earlier[-1]
    pairs = [*pairwise(earlier[-_NOISE_EPOCHS:]), *pairwise(own)]  # the step into this day is what is judged
    falls = [max(a - b, 0.0) for a, b in pairs]
    noise = math.sqrt(sum(fall**2 for fall in falls) / max(len(falls), 1))
    if metric == ACCURACY:  # the standard error of a share
        noise = max(noise, math.sqrt(abs(values[-1]) * (1 - abs(values[-1])) / examples))
    if difference > noise:
        return Verdict(Outcome.BETTER, difference, noise)
    return Verdict(Outcome.WORSE if difference < -noise else Outcome.NO_DIFFERENT, difference, noise)


def advise_by_metric(verdict: Verdict, metric: str, parent: int | None) -> Advice:
    """Return advice from the metric alone, of a training whose losses and learning rate are not known."""
    if verdict.word is Outcome.WORSE:
        return Advice(f"the {metric} got worse by more than its noise: go back, and change a setting", back=parent)
    if verdict.word is Outcome.NO_DIFFERENT:
        return Advice(f"the {metric} changed by no more than its noise: change a setting, or end here")
    if verdict.word in (Outcome.BETTER, Outcome.FIRST):
        return Advice("go on as it is")
    return Advice(f"the day is {verdict.word}: go back, and change a setting", back=parent)


def why_rate_too_high(window: Window) -> str | None:
    """Return what shows in the training loss that the learning rate was too high; None if nothing does."""
    losses = [_training(epoch) for epoch in (window.before[-1], *window.own)]
    if losses[-1] > losses[0] * _RISEN:
        return f"the training loss rose from {losses[0]:.3g} to {losses[-1]:.3g}"
    turns = [(b - a) * (c - b) < 0 for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)]
    if len(turns) >= 3 and sum(turns) > len(turns) / 2:
        return f"the training loss oscillates: it turned {sum(turns)} times in {len(losses) - 1} epochs"
    return None


def advise(window: Window, verdict: Verdict, scales: Mapping[str, BaseScale], lowest: int | None = None) -> Advice:
    """Recommend what to do next; `lowest` is the day with the lowest validation loss, if that is an earlier one."""
    scale, momentum = scales.get("learning_rate"), _momentum_at_default(window, scales)
    if verdict.word is Outcome.OUT_OF_MEMORY:
        return _smaller_batch(window, scales)
    if verdict.word is Outcome.DIVERGED:
        settings = _new_rate(window.rate / _LARGE, window.rate, scale) | momentum
        return Advice("the loss is not finite any more: the learning rate is far too high", settings, window.parent)
    worse = f"it got worse by {-verdict.difference:.3g}, beyond the noise" if verdict.word is Outcome.WORSE else None
    overfits = _overfits(window)
    if (why := why_rate_too_high(window)) or (worse and not overfits):
        also = ", and so much momentum overshoots; the rate comes first, with momentum at its default"
        why = f"{why or worse}: the learning rate is too high{also if momentum else ''}"
        spoiled = worse or _training(window.own[-1]) > _training(window.before[0])
        settings = _new_rate(window.rate / _SMALL, window.rate, scale) | momentum
        return Advice(why, settings, window.parent if spoiled else None)
    if overfits:
        other = "dropout=0.2 or weight_decay=0.001"
        return Advice(f"{overfits}: it overfits; stop here, or go back to the lowest and try {other}", back=lowest)
    if raised := _raise_rate(window, scale):
        return raised
    if verdict.word is Outcome.BETTER:
        return Advice("it still improves: go on")
    if _validation(window.own[-1]) < _FALLEN * min(_validation(epoch) for epoch in window.before):
        return Advice("its validation loss still falls: go on")
    smaller = _new_rate(window.rate / _SMALL, window.rate, scale)
    if not smaller:
        return Advice("it does not improve beyond the noise, and the learning rate is at its lower bound: stop here")
    return Advice("it does not improve beyond the noise: smaller steps average that out", smaller)


def _smaller_batch(window: Window, scales: Mapping[str, BaseScale]) -> Advice:
    half = int(window.settings["batch_size"]) // 2
    fits = half >= 1 and ("batch_size" not in scales or scales["batch_size"].accepts(half))
    settings = {"batch_size": float(half)} if fits else {}
    return Advice("it ran out of memory: a smaller mini-batch needs less", settings, window.parent)


def _overfits(window: Window) -> str | None:
    last = [*window.before, *window.own][-_OVERFITTING_EPOCHS - 1 :]
    pairs = list(pairwise(last))
    if len(pairs) < _OVERFITTING_EPOCHS:
        return None
    up = all(_validation(b) > _validation(a) for a, b in pairs)
    down = all(_training(b) < _training(a) for a, b in pairs)
    if up and down:
        return f"for {len(pairs)} epochs the validation loss rose, while the training loss fell"
    return None


def _raise_rate(window: Window, scale: BaseScale | None) -> Advice | None:
    """Recommend a larger learning rate where the training loss falls slowly and smoothly."""
    losses = [_training(epoch) for epoch in (window.before[-1], *window.own)]
    smooth = all(b < a for a, b in pairwise(losses))
    share = 1 - (losses[-1] / losses[0]) ** (1 / len(window.own)) if losses[0] > 0 else 0.0
    if not smooth or share > _SLOW or losses[-1] < _NEARLY_DONE * _training(window.before[0]):
        return None
    # As long as the loss falls slowly, the share that an epoch takes away is in proportion to the learning rate.
    wanted = window.rate * min(max(_SLOW / share, _LARGE if window.rate_was_raised else _SMALL), _LARGEST)
    wanted = min([wanted, *(high / _SMALL for high in window.too_high)])  # one step below what was too high
    settings = _new_rate(wanted, window.rate, scale)
    if not settings or settings["learning_rate"] < _VISIBLE * window.rate:
        return None
    still = "still " if window.rate_was_raised else ""
    return Advice(
        f"the training loss {still}falls smoothly, by {share:.1%} an epoch, less than {_SLOW:.0%}: "
        f"the learning rate is too low",
        settings,
    )


def _momentum_at_default(window: Window, scales: Mapping[str, BaseScale]) -> dict[str, float]:
    """Return momentum's default if momentum is above it: the learning rate is tuned before anything else."""
    default = scales["momentum"].default if "momentum" in scales else None
    given = window.settings.get("momentum")
    return {"momentum": float(default)} if default is not None and given is not None and given > default else {}


def _new_rate(wanted: float, now: float, scale: BaseScale | None) -> dict[str, float]:
    """Return a learning rate of two digits within its range; nothing if that is the present one."""
    rate = float(f"{wanted:.2g}")
    if scale is not None:
        low, high = (float(scale.value(end)) for end in (0.0, 1.0))
        rate = min(max(rate, low), high)
    return {} if math.isclose(rate, now, rel_tol=0.05) else {"learning_rate": rate}


def _training(epoch: Epoch) -> float:
    return epoch.metrics.get(TRAINING_LOSS, math.nan)


def _validation(epoch: Epoch) -> float:
    return epoch.metrics.get(VALIDATION_LOSS, math.nan)
