"""Learning curves of whole grids: what a search with a pruner is measured on without training anything again.

972 configurations of Caviar's perceptron, each trained for 27 epochs on three data sets, by cohorts: `digits` and
`breast_cancer` of scikit-learn, and the first 5,000 examples of MNIST. Made once (about 15 minutes on 2 cores), and
kept beside this benchmark's other runs.
"""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tables import regret_of, tiers_of

from caviar.epoch import ACCURACY
from caviar.models.cohort import Cohort
from caviar.models.cohort_kinds import groups
from caviar.models.data import Data, Part, load
from caviar.models.mlp import MLP
from caviar.models.optim import Settings
from caviar.models.training import Training
from caviar.studies.definition import Study

DATA = ("digits", "breast_cancer", "mnist5000")
EPOCHS = 27
KEPT = Path(__file__).parent / "kept"
# By tier, the values of each axis and the place of the default.
_AXES: dict[str, tuple[int, tuple[Any, ...], int]] = {
    "learning_rate": (1, tuple(float(v) for v in np.logspace(-4, 0, 9)), 6),
    "momentum": (2, (0.9, 0.99, 0.999), 0),
    "hidden_units": (2, (50, 75, 100), 1),
    "batch_size": (2, (16, 64, 256), 1),
    "layers": (3, (2, 4), 0),
    "decay": (3, (0.0, 0.1), 0),
}
_SHAPE = tuple(len(values) for _, values, _ in _AXES.values())
_TOGETHER = 27  # members of a cohort


@dataclass(frozen=True)
class Curves(ABC):
    """Learning curves of many configurations.

    Attributes:
        accuracy: after each epoch, (configurations, epochs); NaN once a training has diverged, or after its end.
        lengths: the number of epochs of each configuration's training.
    """

    name: str
    accuracy: NDArray[np.float64]
    lengths: NDArray[np.intp]

    @abstractmethod
    def study(self, budget: int, seed: int, pruner: str) -> Study:
        """Return the search of these curves as a study."""

    @abstractmethod
    def row(self, values: Mapping[str, Any], rng: np.random.Generator) -> int:
        """Return the row of the curve that a training of a configuration has."""

    @cached_property
    def finals(self) -> NDArray[np.float64]:
        """The last accuracies; 0 where a training diverged."""
        return np.nan_to_num(self.accuracy[np.arange(len(self.lengths)), self.lengths - 1])

    def regret(self, row: int) -> float:
        """Return how far a configuration's last accuracy is from the best one's: 1 is where the median one is."""
        return regret_of(-self.finals, row)


@dataclass(frozen=True)
class GridCurves(Curves):
    """The curves of a grid, every configuration of which was trained."""

    def study(self, budget: int, seed: int, pruner: str) -> Study:
        places = {name: (tier, len(values), default) for name, (tier, values, default) in _AXES.items()}
        return Study(
            name=self.name, model="mlp", data="digits", epochs=EPOCHS, budget=budget, seed=seed,
            pruner=pruner, tiers=tiers_of(places),
        )  # fmt: skip

    def row(self, values: Mapping[str, Any], rng: np.random.Generator) -> int:  # noqa: ARG002
        return int(np.ravel_multi_index([int(values[name]) for name in _AXES], _SHAPE))


def load_curves(name: str) -> GridCurves:
    """Read the curves of a data set."""
    accuracy = np.load(KEPT / f"curves-{name}.npy")
    return GridCurves(name, accuracy, np.full(len(accuracy), EPOCHS))


def make(name: str, data_dir: Path) -> None:
    """Train the grid on a data set, and keep its curves."""
    started = time.monotonic()
    data = _data(name, data_dir)
    every = list(itertools.product(*(range(size) for size in _SHAPE)))
    curves = np.zeros((len(every), EPOCHS))
    trainings = {number: _training(places, data, number) for number, places in enumerate(every)}
    numbers = {id(training): number for number, training in trainings.items()}
    for group in groups(trainings.values()):
        for at in range(0, len(group), _TOGETHER):
            cohort = Cohort(group[at : at + _TOGETHER])
            for epoch in range(EPOCHS):
                for member, result in zip(cohort.members, cohort.epoch(), strict=True):
                    curves[numbers[id(member)], epoch] = result.metrics[ACCURACY]
    KEPT.mkdir(exist_ok=True)
    np.save(KEPT / f"curves-{name}.npy", curves)
    print(f"{name}: {len(every)} configurations, best {curves[:, -1].max():.4f}, "
          f"median {np.median(curves[:, -1]):.4f}, {time.monotonic() - started:.0f} s", flush=True)  # fmt: skip


def _training(places: tuple[int, ...], data: Data, seed: int) -> Training:
    values = {name: choices[place] for (name, (_, choices, _)), place in zip(_AXES.items(), places, strict=True)}
    build = partial(MLP, layers=values.pop("layers"), hidden_units=values.pop("hidden_units"))
    return Training(build, Settings(**values), data, seed)


def _data(name: str, data_dir: Path) -> Data:
    cpu = torch.device("cpu")
    if name == "digits":
        return load("digits", data_dir, cpu)
    if name == "mnist5000":
        whole = load("mnist", data_dir, cpu)
        return Data(
            Part(whole.training.x[:5000], whole.training.y[:5000]),
            Part(whole.validation.x[:2000], whole.validation.y[:2000]),
            whole.outputs,
        )
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)[order].reshape(len(y), 1, 1, -1)
    y = torch.tensor(y)[order]
    return Data(Part(x[:369], y[:369]), Part(x[369:], y[369:]), 2)


def _make(given: tuple[str, Path]) -> None:
    torch.set_num_threads(1)
    make(*given)


def make_missing(data_dir: Path) -> None:
    """Make the tables that are not kept yet."""
    missing = [(name, data_dir) for name in DATA if not (KEPT / f"curves-{name}.npy").exists()]
    if missing:
        with Pool(2) as pool:
            pool.map(_make, missing, chunksize=1)
