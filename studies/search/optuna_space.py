"""The search space of a plain Optuna program: its distributions as scales, in the tiers that it names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.search_space import intersection_search_space
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from pydantic import ConfigDict, InstanceOf, field_serializer

from caviar.storage.optuna_tables import plain_choice
from caviar.studies.space.base import Axis, BaseScale, Value, bin_of, on_log, place_on_log, within
from caviar.studies.space.search_space import SearchSpace


class OptunaScale(BaseScale):
    """One of Optuna's distributions as a scale; its default is its middle, or the first of its choices."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    of: InstanceOf[BaseDistribution]
    default: Any

    def __init__(self, of: BaseDistribution) -> None:
        super().__init__(of=of, default=middle(of))

    @property
    def bins(self) -> int:
        return _count(self.of)

    @property
    def unordered(self) -> bool:
        return isinstance(self.of, CategoricalDistribution)

    def value(self, unit: float) -> Value:
        return _value_at(self.of, unit)  # type: ignore[no-any-return]

    def unit(self, value: Value) -> float:
        kind = self.of
        if isinstance(kind, CategoricalDistribution):
            return (kind.to_internal_repr(value) + 0.5) / len(kind.choices)
        assert isinstance(kind, FloatDistribution | IntDistribution)
        if kind.single():
            return 0.5
        if self.bins and kind.step is not None:
            return within((round((float(value) - kind.low) / kind.step) + 0.5) / self.bins, 0.0, 1.0)
        low, high = _ends(kind)
        if kind.log:
            return place_on_log(within(float(value), low, high), low, high)
        return within((float(value) - low) / (high - low), 0.0, 1.0)

    def distribution(self) -> BaseDistribution:
        return self.of

    def axis(self, name: str) -> Axis:
        is_log = not isinstance(self.of, CategoricalDistribution) and getattr(self.of, "log", False)
        return Axis(f"{name} (log scale)", "log") if is_log else Axis(name)

    @field_serializer("of")
    def _as_json(self, of: BaseDistribution) -> Any:
        return json.loads(distribution_to_json(of))

    def __str__(self) -> str:
        if isinstance(self.of, CategoricalDistribution):
            return f"one of {', '.join(map(str, self.of.choices))}"
        assert isinstance(self.of, FloatDistribution | IntDistribution)
        axis = f"{'log' if self.of.log else 'linear'}{' integer' if isinstance(self.of, IntDistribution) else ''}"
        return f"{self.of.low:g} … {self.of.high:g}, {axis}"


def space_of(space: SearchSpace, trials: Iterable[FrozenTrial]) -> SearchSpace | None:
    """Return the search space that a model can learn from: the space itself; or, where trials name their
    hyperparameters, those that all complete trials have in common, with the same range. None if there are none."""
    if not space.by_trials:
        return space
    kinds = common(list(trials))
    if not kinds:
        return None
    direction = StudyDirection.MAXIMIZE if space.maximize else StudyDirection.MINIMIZE
    tiers = [list(tier) for tier in space.tiers]
    return search_space(kinds, tiers, space.budget, space.seed, direction, space.strategy)


def common(trials: list[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return the parameters that all complete trials have with the same range, without those of a single value.

    Before any is complete, those of the pruned ones; later these do not count, since they may have been pruned before
    they suggested a parameter.
    """
    is_any_complete = any(trial.state == TrialState.COMPLETE for trial in trials)
    found = intersection_search_space(trials, include_pruned=not is_any_complete)
    return {name: kind for name, kind in found.items() if not kind.single()}


def chosen_together(trials: list[FrozenTrial], number: int) -> dict[str, BaseDistribution]:
    """Return the parameters that a model chooses together for the trial of that number: those in common.

    Where trials also have parameters that others lack, choices are left out in every second trial. They decide which of
    those there are, and a model that knows the common ones alone would leave a branch for good after one bad trial in
    it.
    """
    kinds = common(trials)
    known = {name for trial in trials for name, kind in trial.distributions.items() if not kind.single()}
    if known <= kinds.keys() or number % 2:
        return kinds
    return {name: kind for name, kind in kinds.items() if not isinstance(kind, CategoricalDistribution)}


def named_scales(trials: Iterable[FrozenTrial]) -> dict[str, OptunaScale]:
    """Return a scale for each hyperparameter that trials have named, by which all their values can be drawn: its
    choices as numbers and texts, or the whole of its ranges where they differ."""
    kinds: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, kind in trial.distributions.items():
            kinds[name] = _widest(kinds[name], kind) if name in kinds else _plain(kind)
    return {name: OptunaScale(kind) for name, kind in kinds.items()}


def _plain(kind: BaseDistribution) -> BaseDistribution:
    if isinstance(kind, CategoricalDistribution):
        return CategoricalDistribution(list(dict.fromkeys(map(plain_choice, kind.choices))))
    return kind


def _widest(known: BaseDistribution, other: BaseDistribution) -> BaseDistribution:
    """Return a distribution with the values of both, which are of one kind."""
    if isinstance(known, CategoricalDistribution) or type(known) is not type(other) or known == other:
        return known
    assert isinstance(known, FloatDistribution | IntDistribution)
    assert isinstance(other, FloatDistribution | IntDistribution)
    low, high = min(known.low, other.low), max(known.high, other.high)
    if isinstance(known, IntDistribution):
        return IntDistribution(int(low), int(high), log=known.log)
    return FloatDistribution(low, high, log=known.log)


def search_space(
    space: Mapping[str, BaseDistribution],
    tiers: Sequence[Sequence[str]],
    budget: int,
    seed: int,
    direction: StudyDirection,
    strategy: str = "tiered",
) -> SearchSpace:
    """Return the search space of distributions, by tier; parameters that no tier names are in the last one."""
    others = [name for name in space if not any(name in tier for tier in tiers)]
    names = [*tiers[:3], [*tiers[3], *others]] if len(tiers) == 4 else [*tiers, others]
    scales = [{name: OptunaScale(of=space[name]) for name in tier if name in space} for tier in names]
    used = tuple(tier for tier in scales if tier)
    way: Literal["maximize", "minimize"] = "maximize" if direction == StudyDirection.MAXIMIZE else "minimize"
    return SearchSpace(direction=way, budget=max(budget, len(used)), seed=seed, strategy=strategy, tiers=used)


def _count(kind: BaseDistribution) -> int:
    """Return the number of a distribution's values that share its scale equally; 0 if it is continuous."""
    if isinstance(kind, CategoricalDistribution):
        return len(kind.choices)
    assert isinstance(kind, FloatDistribution | IntDistribution)
    return 0 if kind.step is None or kind.log else round((kind.high - kind.low) / kind.step) + 1


def middle(kind: BaseDistribution) -> Any:
    """Return the middle of a distribution on its own scale, or the first of its choices."""
    return kind.choices[0] if isinstance(kind, CategoricalDistribution) else _value_at(kind, 0.5)


def _value_at(kind: BaseDistribution, unit: float) -> Any:
    """Return the value of a distribution at `unit`, 0 to 1, of its own scale."""
    if isinstance(kind, CategoricalDistribution):
        return kind.choices[bin_of(unit, len(kind.choices))]
    assert isinstance(kind, FloatDistribution | IntDistribution)
    if (values := _count(kind)) and kind.step is not None:
        number = kind.low + bin_of(unit, values) * kind.step
    else:
        low, high = _ends(kind)
        number = on_log(unit, low, high) if kind.log else low + unit * (high - low)
    if isinstance(kind, IntDistribution):
        return int(within(round(number), kind.low, kind.high))
    return float(within(number, kind.low, kind.high))


def _ends(kind: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """Return the ends of an axis without steps; the first and the last integer have as much of it as any other."""
    if isinstance(kind, IntDistribution):
        return kind.low - 0.5, kind.high + 0.5
    return kind.low, kind.high
