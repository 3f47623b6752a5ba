"""Learning curves of networks on ImageNet that others trained: 512 configurations each of AlexNet and ConvNeXt.

AlexNet and ConvNeXt Hyperparameter Tuning Data © 2025 by Nicholas Lourie, CC BY-SA 4.0,
https://github.com/nicholaslourie/opda. They are no part of Caviar; `--curves` names the folder that has them,
alexnet.jsonl.gz and convnext-tiny.jsonl.gz.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from curves import Curves
from numpy.typing import NDArray

from caviar.studies.definition import Study
from caviar.studies.space.base import BaseScale
from caviar.studies.space.scales import Linear, Log, PowersOfTwo

NETWORKS = ("alexnet", "convnext-tiny")
_NEAREST = 5  # trained configurations that stand for one that was not
_CHANCE = 0.001  # the accuracy of guessing one of a thousand classes


@dataclass(frozen=True)
class Trained:
    """A network's configurations.

    Attributes:
        points: of the unit cube, (configurations, hyperparameters).
        rates: peak learning rates.
        curves: accuracy after each epoch; a curve that ends before its schedule has diverged.
        schedules: epochs of each schedule.
    """

    points: NDArray[np.float64]
    rates: NDArray[np.float64]
    curves: tuple[NDArray[np.float64], ...]
    schedules: NDArray[np.intp]

    @property
    def finals(self) -> NDArray[np.float64]:
        """The last accuracies; 0 where a training diverged."""
        return np.array([c[-1] if len(c) == e else 0.0 for c, e in zip(self.curves, self.schedules, strict=True)])


@cache
def trained(folder: Path, name: str) -> Trained:
    """Read the configurations of a network."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    points = [
        [
            math.log10(row["lr"] / 5e-3) / 4, (row["momentum"] - 0.7) / 0.3, (math.log2(row["batch_size"]) - 6.5) / 4,
            row["lr_peak_epoch"] / row["epochs"] / 0.8, math.log10(row["weight_decay"] / 1e-6) / 3,
            row["label_smoothing"] / 0.5,
        ]
        for row in rows
    ]  # fmt: skip
    curves = [np.array([epoch["top_1"] for epoch in row["learning_curve"]]) for row in rows]
    broken = [row["nan_train_loss"] and len(c) == row["epochs"] for row, c in zip(rows, curves, strict=True)]
    return Trained(
        np.array(points), np.array([row["lr"] for row in rows]),
        tuple(c[:-1] if b else c for c, b in zip(curves, broken, strict=True)),
        np.array([row["epochs"] for row in rows]),
    )  # fmt: skip


def tiers(rate: float) -> tuple[dict[str, BaseScale], ...]:
    """Return the search of these configurations, with a default of the learning rate."""
    return (
        {"lr": Log(5e-3, 50, default=rate)},
        {"momentum": Linear(0.7, 1.0, default=0.9), "batch_size": PowersOfTwo(128, 1024, default=256)},
        {
            "warmup": Linear(0.0, 0.8, default=0.1), "weight_decay": Log(1e-6, 1e-3, default=1e-4),
            "label_smoothing": Linear(0.0, 0.5, default=0.1),
        },
    )  # fmt: skip


def nearest(points: NDArray[np.float64], here: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the rows of the points that are nearest to one.

    Nearest by the learning rate above all, the first coordinate: its distance counts four times, since it explains 16
    times as much of the final accuracy's variance as any other hyperparameter (0.5, at most 0.03).
    """
    weights = np.where(np.arange(points.shape[1]) == 0, 4.0, 1.0)
    return np.argpartition(np.square((points - here) * weights).sum(axis=1), _NEAREST)[:_NEAREST]


@dataclass(frozen=True)
class ImageNetCurves(Curves):
    """The curves of a network as a search sees them: what is proposed is trained like one of the nearest ones."""

    points: NDArray[np.float64]

    def study(self, budget: int, seed: int, pruner: str) -> Study:
        return Study(
            name=self.name.replace(" ", "-"), model="mlp", data="digits", epochs=self.accuracy.shape[1], budget=budget,
            seed=seed, pruner=pruner, tiers=tiers(0.5),
        )  # fmt: skip

    def row(self, values: Mapping[str, Any], rng: np.random.Generator) -> int:
        scales = {name: scale for tier in tiers(0.5) for name, scale in tier.items()}
        here = np.array([scale.unit(values[name]) for name, scale in scales.items()])
        return int(rng.choice(np.sort(nearest(self.points, here))))


def load_imagenet(folder: Path, name: str, epochs: int | None = None) -> ImageNetCurves:
    """Return the curves of a network.

    Args:
        epochs: of the schedule that all are brought to, as if each had been trained that long: a curve's time is
            measured as a share of its own schedule. None leaves each its own, of 20 to 100 epochs.
    """
    found = trained(folder, name)
    lengths = found.schedules if epochs is None else np.full(len(found.curves), epochs)
    accuracy = np.full((len(found.curves), int(lengths.max())), np.nan)
    for row, (curve, schedule) in enumerate(zip(found.curves, found.schedules, strict=True)):
        at = np.arange(1, lengths[row] + 1) * schedule / lengths[row]
        at = at[at <= len(curve) + 1e-9]
        if len(curve):
            accuracy[row, : len(at)] = np.interp(at, np.arange(len(curve) + 1), [_CHANCE, *curve])
    return ImageNetCurves(f"{name} {epochs or ''}".strip(), accuracy, lengths, found.points)
