"""The TieredSampler: tiers that open one after the other, coarse to fine, then everything under a model.

An ordinary `optuna.samplers.BaseSampler`, for ordinary Optuna programs too:

    sampler = TieredSampler(study_definition)
    optuna.create_study(sampler=sampler, direction="maximize").optimize(objective)

where the objective suggests the stored names and distributions of the definition's scales. A proposal depends on
the study's seed, the trial's number and the study's trials alone, so any number of processes share one search
without talking. Distributions stay the full range for the whole life of a study: tiers and zoom live in here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from models.seeding import derive
from studies.definition import Study
from studies.plan import Slot, plan
from studies.scale import Value

_ENOUGH = 2  # finished trials before there is a zoom box: the default, and one more
_MARGIN = 0.05  # of the unit interval, on each side of the zoom box
_MODEL_BEST, _MODEL_NEWEST = 100, 100  # trials that the model learns from; its cost grows with their cube

Box = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Observation:
    """A finished trial: its values, and its loss (lower is better)."""

    number: int
    values: Mapping[str, Value]
    loss: float
    failed: bool = False


class TieredSampler(BaseSampler):
    """Chooses values for the slots of a study's plan.

    Args:
        study: the definition; its direction must be the Optuna study's. Its strategy is `tiered` or `classic`.

    Raises:
        ValueError: another strategy, or, when it chooses, another direction.
    """

    def __init__(self, study: Study) -> None:
        if study.strategy not in ("tiered", "classic"):
            raise ValueError(f"the strategy must be tiered or classic; study '{study.name}' has {study.strategy}")
        self._definition = study
        self._slots = plan(study)
        self._scales = study.scales()
        self._tiers = {name: tier for name, tier, _ in study.hyperparameters()}
        self._distributions = study.distributions()
        self._storage: object = None  # whose trials these are
        self._trained: dict[int, dict[str, Value]] = {}  # of finished trials, by Optuna's id

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if study.direction.name != self._definition.direction.upper():
            raise ValueError(
                f"study '{self._definition.name}' is to {self._definition.direction}; say so to Optuna too"
            )
        slot = self._slots[min(trial.number, len(self._slots) - 1)]  # beyond the budget the last phase goes on
        if slot.phase == "all":
            stored = self._by_model(study, trial)
        else:
            observed = self._observations(study)
            values, box = self._by_plan(slot, trial.number, observed)
            stored = {self._scales[n].stored_name(n): self._scales[n].to_stored(v) for n, v in values.items()}
            if box:
                study._storage.set_trial_user_attr(trial._trial_id, "zoom", self._readable(box))
        return {name: value for name, value in stored.items() if name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Choose a parameter that the definition does not know: at random."""
        seed = derive(self._definition.seed, "independent", trial.number, param_name) % 2**32
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    def _by_plan(
        self, slot: Slot, number: int, observed: Sequence[Observation]
    ) -> tuple[dict[str, Value], dict[str, tuple[float, float]]]:
        """Return values, and the zoom box of those that were zoomed, on the unit interval."""
        best = min(observed, key=lambda o: (o.loss, o.failed), default=None)
        boxes = zoom(self._definition, observed)
        points = dict(zip(self._scales, halton(len(self._scales), self._definition.seed, number), strict=True))
        values: dict[str, Value] = {}
        used: dict[str, tuple[float, float]] = {}
        for name, scale in self._scales.items():
            if name not in slot.free:
                values[name] = best.values[name] if best and slot.phase != "default" else scale.default
                continue
            low, high = 0.0, 1.0
            if name in boxes and (self._tiers[name] < slot.tier or slot.phase == "fine"):
                used[name] = low, high = boxes[name]
            values[name] = scale.value(low + points[name] * (high - low))
        return values, used

    def _by_model(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """Let Optuna's GPSampler choose, with every finished trial given to it as a complete one.

        GPSampler learns from complete trials only. A pruned trial counts here with its last reported value, a failed
        one with the worst that was seen.
        """
        trials = study.get_trials(deepcopy=False)
        observed = sorted(self._observations(study), key=lambda o: o.loss)
        newest = sorted(observed[_MODEL_BEST:], key=lambda o: o.number)[-_MODEL_NEWEST:]
        chosen = {o.number for o in [*observed[:_MODEL_BEST], *newest]}
        losses = dict(zip([o.number for o in observed], half_rank([o.loss for o in observed]), strict=True))
        seed = derive(self._definition.seed, "model", trial.number) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            view = copy_of(trials, losses={n: loss for n, loss in losses.items() if n in chosen}, but=trial.number)
            view.sampler = GPSampler(seed=seed, n_startup_trials=1)
            return view.ask(self._distributions).params

    def _observations(self, study: optuna.Study) -> list[Observation]:
        if study._storage is not self._storage:
            self._storage, self._trained = study._storage, {}
        return observations(self._definition, study.get_trials(deepcopy=False), self._trained)

    def _readable(self, box: Box) -> dict[str, list[Value]]:
        return {
            name: [self._scales[name].value(low), self._scales[name].value(high)] for name, (low, high) in box.items()
        }


def observations(
    study: Study, trials: Sequence[FrozenTrial], trained: dict[int, dict[str, Value]] | None = None
) -> list[Observation]:
    """Return the finished trials with a loss: complete ones have their value, pruned ones the last that they reported.

    A failed trial, and one without any value, has the worst loss of all, and is never forgotten.

    Args:
        trained: the values of finished trials by Optuna's id, as far as they are known; the others are added.
    """
    stored = {scale.stored_name(name) for name, scale in study.scales().items()}
    known, lost = [], []
    sign = -1.0 if study.maximize else 1.0
    for trial in trials:
        if not trial.state.is_finished():
            continue
        values = trained.get(trial._trial_id) if trained is not None else None
        if values is None:
            if stored - trial.params.keys():
                continue  # another program made it
            values = study.trained(trial.params)
            if trained is not None:
                trained[trial._trial_id] = values
        value = trial.value
        if value is None and trial.intermediate_values:
            value = trial.intermediate_values[max(trial.intermediate_values)]
        if trial.state == TrialState.FAIL or value is None or not np.isfinite(value):
            lost.append((trial.number, values))
        else:
            known.append(Observation(trial.number, values, sign * value))
    worst = max((o.loss for o in known), default=0.0)
    return sorted([*known, *(Observation(n, v, worst, failed=True) for n, v in lost)], key=lambda o: o.number)


def zoom(study: Study, observed: Sequence[Observation]) -> dict[str, tuple[float, float]]:
    """Return each hyperparameter's zoom box on the unit interval; nothing before two trials are finished.

    From the lowest to the highest of the best quarter of the trials (two at least), padded by half its width + 0.05.
    """
    if len(observed) < _ENOUGH:
        return {}
    good = sorted(observed, key=lambda o: o.loss)[: max(2, len(observed) // 4)]
    boxes = {}
    for name, scale in study.scales().items():
        units = [scale.unit(o.values[name]) for o in good]
        pad = (max(units) - min(units)) / 2 + _MARGIN
        boxes[name] = max(0.0, min(units) - pad), min(1.0, max(units) + pad)
    return boxes


def half_rank(losses: Sequence[float]) -> list[float]:
    """Return losses on a scale on which bad trials are only bad, however bad: what a model should see.

    Better than the median: (y - median) / rms(better ones - median). Worse: the normal score of the rank. An early
    stopped or diverged trial would otherwise stretch the scale until good ones cannot be told apart.
    """
    from scipy.stats import norm, rankdata

    y = np.asarray(losses, dtype=float)
    median = float(np.median(y))
    better = y < median
    spread = float(np.sqrt(np.mean((y[better] - median) ** 2))) if better.any() else 1.0
    scores = norm.ppf((rankdata(y) - 0.5) / len(y))
    return [float(z) for z in np.where(better, (y - median) / spread, np.maximum(scores, 0.0))]


def halton(dimensions: int, seed: int, index: int) -> list[float]:
    """Return one point of a scrambled Halton sequence: quasi-random, so a few points leave no large gaps.

    Source: A. B. Owen, A randomized Halton algorithm in R, https://arxiv.org/abs/1706.02808 (as scipy has it).
    """
    from scipy.stats import qmc

    sequence = qmc.Halton(dimensions, scramble=True, rng=np.random.default_rng(derive(seed, "halton")))
    sequence.fast_forward(index)
    return [float(x) for x in sequence.random(1)[0]]


def copy_of(trials: Sequence[FrozenTrial], losses: Mapping[int, float], but: int) -> optuna.Study:
    """Return a study to minimise, in memory, of the trials that have a loss, as complete ones, and of the running ones.

    Constraints are left out: a trial that violates one has a bad loss already, and GPSampler refuses a study in which
    some trials have constraints and others have not.
    """
    with _quiet():
        copy = optuna.create_study()
    for trial in trials:
        state = TrialState.COMPLETE if trial.number in losses else TrialState.RUNNING
        if trial.number != but and trial.distributions and (trial.number in losses or trial.state == state):
            copy.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    value=losses.get(trial.number),
                    params=trial.params,
                    distributions=trial.distributions,
                )
            )
    return copy


class _quiet:
    """Optuna says at level INFO that it made a study; the model's is not one that anybody wants to hear of."""

    def __enter__(self) -> None:
        self._before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def __exit__(self, *exception: object) -> None:
        optuna.logging.set_verbosity(self._before)
