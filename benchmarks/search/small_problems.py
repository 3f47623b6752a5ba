"""What a search of few trials is measured on: a bowl, tables of trained networks, and learning curves; each with the
learning rate's default at different places.

The learning curves are those of imagenet.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from imagenet import nearest, tiers, trained
from numpy.typing import NDArray
from tables import load

from caviar.studies.definition import Study, change
from caviar.studies.space.scales import Grid, Linear, Log, LogOneMinus, PowersOfTwo

OFFSETS = (0.0, 1.0, 1.5, 2.0)  # decades between the learning rate's default and the best one
PLACES = ("own", "anywhere")  # of the default of a table's learning rate


@dataclass(frozen=True)
class Problem:
    """A search, with all that there is to know of it.

    Attributes:
        study: the definition, by budget.
        train: returns the loss that one training of a configuration ends with.
        regret: returns how far a configuration's true loss is from the best one's, in `unit`.
        unit: the loss between the best configuration and a median one; 1 on a bowl.
    """

    study: Callable[[int], Study]
    train: Callable[[Mapping[str, Any], np.random.Generator], float]
    regret: Callable[[Mapping[str, Any]], float]
    unit: float = 1.0


def bowl(offset: float, others_right: bool, seed: int) -> Problem:
    """Return a quadratic bowl: the loss is the squared distance in decades of the learning rate, in thirds of a range
    of all else. The best learning rate is `offset` decades above or below the default; the best of all else is the
    default or, unless it is right, anywhere."""
    rng = np.random.default_rng([seed, 1])
    best = 10 ** (-3 + offset * (1 if seed % 2 else -1))
    tiers = (
        {"learning_rate": Log(1e-5, 1e-1, default=1e-3)},
        {
            "momentum": LogOneMinus(0.9, 0.999, default=0.9), "hidden_units": Linear(16, 256, default=64),
            "batch_size": PowersOfTwo(16, 256, default=64),
        },
        {"layers": Grid(2, 3, 4, default=2), "dropout": Linear(0.0, 0.5, default=0.1)},
    )  # fmt: skip
    scales = {name: scale for tier in tiers for name, scale in tier.items() if name != "learning_rate"}
    bottom = {n: s.unit(s.default) if others_right else float(rng.random()) for n, s in scales.items()}

    def loss(values: Mapping[str, Any]) -> float:
        away = math.log10(values["learning_rate"] / best)
        return away**2 + sum((3 * (scales[n].unit(values[n]) - unit)) ** 2 for n, unit in bottom.items()) / 3

    return Problem(lambda budget: _study(f"bowl-{offset:g}", tiers, budget, seed), lambda values, _: loss(values), loss)


def of_table(name: str, place: str, seed: int) -> Problem:
    """Return the search of a table, with its own default or with one whose learning rate is any of its values."""
    table = load(name)

    def study(budget: int) -> Study:
        own = table.study(budget, seed)
        if place == "own":
            return own
        ((rate, scale),) = own.tiers[0].items()
        moved = type(scale)(scale.low, scale.high, default=int(np.random.default_rng([seed, 2]).integers(scale.bins)))
        return change(own, tiers=({rate: moved}, *own.tiers[1:]))

    def train(values: Mapping[str, Any], rng: np.random.Generator) -> float:
        return float(rng.choice(table.losses[table.place(values)]))

    unit = float(np.median(table.means) - table.means.min())
    return Problem(study, train, lambda values: table.regret(table.place(values)), unit)


def of_curves(folder: Path, name: str, offset: float, seed: int) -> Problem:
    """Return the search among configurations that were trained on ImageNet. A training of what is proposed ends like
    that of one of the nearest ones, and its true error is their mean: a single one may have diverged by chance. Regret
    is that error less the lowest one, as a share of the median one's.
    """
    found = trained(folder, name)
    points, errors = found.points, 1 - found.finals
    best = float(found.rates[np.argmin(errors)])
    signs = (1, -1) if seed % 2 else (-1, 1)
    rate = next(r for sign in signs if 5e-3 <= (r := best * 10 ** (sign * offset)) <= 50)
    searched = tiers(rate)
    scales = {name: scale for tier in searched for name, scale in tier.items()}
    true = np.array([errors[nearest(points, point)].mean() for point in points])
    unit = float(np.median(true) - true.min())

    def around(values: Mapping[str, Any]) -> NDArray[np.float64]:
        here = np.array([scale.unit(values[name]) for name, scale in scales.items()])
        return errors[nearest(points, here)]

    return Problem(
        lambda budget: _study(f"{name}-{offset:g}", searched, budget, seed),
        lambda values, rng: float(rng.choice(around(values))),
        lambda values: float((around(values).mean() - true.min()) / unit),
        unit,
    )


def _study(name: str, tiers: tuple[dict[str, Any], ...], budget: int, seed: int) -> Study:
    return Study(
        name=name.replace(".", "-"), model="mlp", data="digits", metric="loss", direction="minimize", epochs=1,
        budget=budget, seed=seed, tiers=tiers,
    )  # fmt: skip
