"""What a day's learning curve says: better or worse than before, and what to do about it. Never done by itself.

The reading of curves is that of Andrew Ng, Improving Deep Neural Networks, week 3 (babysitting a model), and of the
Deep Learning Tuning Playbook (https://github.com/google-research/tuning_playbook), "training curves".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from caviar.epoch import Epoch
from caviar.studies.space.base import BaseScale

_LATELY = 10  # epochs that noise is measured on
_RISEN = 1.02  # times as high: more than a wobble of a mean over all examples
_SMALL, _LARGE, _LARGEST = 3.0, 10.0, 100.0  # steps of the learning rate
_SLOWLY = 0.3  # share of the training loss that an epoch takes away, or less
_DONE = 0.1  # of the loss at birth: what is below is not slow, but nearly there
_OVERFITTING = 3  # epochs in a row
_LESS = 0.98  # of a validation loss: more than its wobble
_SEEN = 1.3  # times as large: a step that would show


@dataclass(frozen=True)
class Verdict:
    """How a day ended: `better`, `worse` or `no different` than the day before, `born`, `diverged`, `out of memory`,
    `failed`, `abandoned` or `unfinished`.

    Attributes:
        difference: of the metric, above 0 where it is better.
        noise: by how much it fell back lately from epoch to epoch, and at least what so many examples can tell.
    """

    word: str
    difference: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Advice:
    """What to do, and why. `back` is a day to go back to before `settings` are changed."""

    why: str
    settings: Mapping[str, float] = field(default_factory=dict)
    back: int | None = None


@dataclass(frozen=True)
class Look:
    """What there is to look at of a day that has ended, or of the rest of it since a nudge.

    Attributes:
        before: the epochs of the days that it builds on, with the birth.
        own: its epochs.
        settings: that it ended with.
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
        """The learning rate of its last epoch, its decay counted in."""
        return self.own[-1].learning_rate

    @property
    def raised(self) -> bool:
        """Whether the learning rate is larger than before, but for the birth."""
        return len(self.before) > 1 and self.own[0].learning_rate > self.before[-1].learning_rate


def judge(look: Look, metric: str, *, maximize: bool, examples: int) -> Verdict:
    """Compare a day with the one before."""
    sign = 1 if maximize else -1
    values = [sign * epoch.value(metric) for epoch in (*look.before, *look.own)]
    difference = values[-1] - sign * look.before[-1].value(metric)
    earlier, own = values[: len(look.before)], values[len(look.before) :]
    pairs = [*pairwise(earlier[-_LATELY:]), *pairwise(own)]  # the step into this day is what is judged
    falls = [max(a - b, 0.0) for a, b in pairs]
    noise = math.sqrt(sum(fall**2 for fall in falls) / max(len(falls), 1))
    if metric == "accuracy":  # the standard error of a share
        noise = max(noise, math.sqrt(abs(values[-1]) * (1 - abs(values[-1])) / examples))
    word = "better" if difference > noise else "worse" if difference < -noise else "no different"
    return Verdict(word, difference, noise)


def is_too_high(look: Look) -> str | None:
    """Say why the learning rate of a day was too high, if its training loss says so."""
    losses = [epoch.training_loss for epoch in (look.before[-1], *look.own)]
    if losses[-1] > losses[0] * _RISEN:
        return f"the training loss rose from {losses[0]:.3g} to {losses[-1]:.3g}"
    turns = [(b - a) * (c - b) < 0 for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)]
    if len(turns) >= 3 and sum(turns) > len(turns) / 2:
        return f"the training loss oscillates: it turned {sum(turns)} times in {len(losses) - 1} epochs"
    return None


def advise(look: Look, verdict: Verdict, scales: Mapping[str, BaseScale], lowest: int | None = None) -> Advice:
    """Say what to do next.

    Args:
        scales: of the study, in whose ranges the advice stays.
        lowest: the day with the lowest validation loss, if that is an earlier one.
    """
    scale, calm = scales.get("learning_rate"), _calm(look, scales)
    if verdict.word == "out of memory":
        half = int(look.settings["batch_size"]) // 2
        fits = half >= 1 and ("batch_size" not in scales or scales["batch_size"].accepts(half))
        settings = {"batch_size": float(half)} if fits else {}
        return Advice("it ran out of memory: a smaller mini-batch needs less", settings, look.parent)
    if verdict.word == "diverged":
        settings = _rate(look.rate / _LARGE, look.rate, scale) | calm
        return Advice("the loss is not finite any more: the learning rate is far too high", settings, look.parent)
    worse = f"it got worse by {-verdict.difference:.3g}, beyond the noise" if verdict.word == "worse" else None
    overfits = _overfits(look)
    if (why := is_too_high(look)) or (worse and not overfits):
        also = ", and so much momentum overshoots; the rate comes first, with momentum at its default" if calm else ""
        spoiled = worse or look.own[-1].training_loss > look.before[0].training_loss
        settings = _rate(look.rate / _SMALL, look.rate, scale) | calm
        return Advice(
            f"{why or worse}: the learning rate is too high{also}", settings, look.parent if spoiled else None
        )
    if overfits:
        other = "dropout=0.2 or weight_decay=0.001"
        return Advice(f"{overfits}: it overfits; stop here, or go back to the lowest and try {other}", back=lowest)
    if raised := _raised(look, scale):
        return raised
    if verdict.word == "better":
        return Advice("it still improves: go on")
    if look.own[-1].validation_loss < _LESS * min(epoch.validation_loss for epoch in look.before):
        return Advice("its validation loss still falls: go on")
    smaller = _rate(look.rate / _SMALL, look.rate, scale)
    if not smaller:
        return Advice("it does not improve beyond the noise, and the learning rate is as small as may be: stop here")
    return Advice("it does not improve beyond the noise: smaller steps average that out", smaller)


def _overfits(look: Look) -> str | None:
    last = [*look.before, *look.own][-_OVERFITTING - 1 :]
    pairs = list(pairwise(last))
    if len(pairs) < _OVERFITTING:
        return None
    up = all(b.validation_loss > a.validation_loss for a, b in pairs)
    down = all(b.training_loss < a.training_loss for a, b in pairs)
    if up and down:
        return f"for {len(pairs)} epochs the validation loss rose, while the training loss fell"
    return None


def _raised(look: Look, scale: BaseScale | None) -> Advice | None:
    """Advise a larger learning rate where the training loss falls slowly and smoothly."""
    losses = [epoch.training_loss for epoch in (look.before[-1], *look.own)]
    smooth = all(b < a for a, b in pairwise(losses))
    share = 1 - (losses[-1] / losses[0]) ** (1 / len(look.own)) if losses[0] > 0 else 0.0
    if not smooth or share > _SLOWLY or losses[-1] < _DONE * look.before[0].training_loss:
        return None
    # As long as it is slow, what an epoch takes away is in proportion to the rate.
    wanted = look.rate * min(max(_SLOWLY / share, _LARGE if look.raised else _SMALL), _LARGEST)
    wanted = min([wanted, *(high / _SMALL for high in look.too_high)])  # where one goes back to from what was too high
    settings = _rate(wanted, look.rate, scale)
    if not settings or settings["learning_rate"] < _SEEN * look.rate:
        return None
    still = "still " if look.raised else ""
    return Advice(
        f"the training loss {still}falls smoothly, and by only {share:.1%} an epoch: the learning rate is too low",
        settings,
    )


def _calm(look: Look, scales: Mapping[str, BaseScale]) -> dict[str, float]:
    """Return momentum at its default, if it is above: the method tunes the learning rate before anything else."""
    default = scales["momentum"].default if "momentum" in scales else None
    given = look.settings.get("momentum")
    return {"momentum": float(default)} if default is not None and given is not None and given > default else {}


def _rate(wanted: float, now: float, scale: BaseScale | None) -> dict[str, float]:
    """Return a learning rate of two digits in its range; nothing where that is the one that it has."""
    rate = float(f"{wanted:.2g}")
    if scale is not None:
        low, high = (float(scale.value(end)) for end in (0.0, 1.0))
        rate = min(max(rate, low), high)
    return {} if math.isclose(rate, now, rel_tol=0.05) else {"learning_rate": rate}
