"""The report's advice, followed: is the winner of what it advises better, or at least no worse?

    python benchmarks/advice.py [--times 10] [--workers 2] [--only WORD] [--short]

20 studies: four data sets, each with trainings that are too short or long enough, with ranges that hold the best
learning rate or end before it, and with few trials; and three by the validation loss, whose trainings are too long.
Each command that a study's report gives as advice is given to a new process, and the study that it makes or extends is
run. Then both winners are trained anew, so many times each: the advice helps or harms where their mean metrics differ
by more than two standard errors. Prints a row for each advice and writes benchmarks/results/advice.json.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write
from sklearn.datasets import load_digits
from sqlalchemy import Engine

import caviar
from caviar import Grid, Linear, Log, LogOneMinus, PowersOfTwo, Study

Part = tuple[torch.Tensor, torch.Tensor]


def few() -> tuple[Part, Part]:
    """Return digits with 150 training examples."""
    return _digits(150)


def mislabelled() -> tuple[Part, Part]:
    """Return digits with 600 training examples, of which three tenths have a label at random: they can be learned by
    heart."""
    (x, y), validation = _digits(600)
    rng = np.random.default_rng(1)
    wrong = torch.from_numpy(rng.random(len(y)) < 0.3)
    return (x, torch.where(wrong, torch.from_numpy(rng.integers(0, 10, len(y))), y)), validation


def waves() -> tuple[Part, Part]:
    """Return 800 and 400 values of a wave in four dimensions, with noise."""
    x = torch.rand(1200, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = torch.sin(3 * x.sum(1, keepdim=True)) + 0.1 * torch.randn(1200, 1, generator=torch.Generator().manual_seed(1))
    return (x[:800], y[:800]), (x[800:], y[800:])


def _digits(count: int) -> tuple[Part, Part]:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = torch.from_numpy(images[order] / 16).float(), torch.from_numpy(labels[order])
    return (x[:count], y[:count]), (x[-700:], y[-700:])


def studies() -> Iterator[Study]:
    """Return the studies."""
    wide, low, high = Log(1e-3, 3, default=0.1), Log(1e-4, 1e-2, default=1e-3), Log(0.3, 10, default=1)
    shapes = {
        "short": (wide, 8, 30), "long": (wide, 40, 30), "low": (low, 20, 30), "high": (high, 20, 30),
        "few-trials": (wide, 20, 10),
    }  # fmt: skip
    for data in ("digits", "few", "mislabelled", "waves"):
        own = {**shapes, **({} if data == "waves" else {"too-long": (wide, 60, 20)})}
        for shape, (rate, epochs, budget) in own.items():
            yield Study(
                name=f"{data}-{shape}", model="mlp", data=data if data == "digits" else f"advice:{data}",
                metric="validation_loss" if data == "waves" or shape == "too-long" else "accuracy", epochs=epochs,
                budget=budget,
                tiers=(
                    {"learning_rate": rate},
                    {"momentum": LogOneMinus(0.8, 0.99, default=0.9), "hidden_units": Linear(8, 128, default=32),
                     "batch_size": PowersOfTwo(16, 256, default=32)},
                    {"layers": Grid(1, 2, 3, default=2)},
                ),
            )  # fmt: skip


@dataclass(frozen=True)
class Followed:
    """An advice, and what came of it.

    Attributes:
        before, after: the metrics of fresh trainings of both winners.
        better: by how much the mean is better after it; below 0 where it is worse.
        error: the standard error of that.
    """

    study: str
    command: str
    why: str
    before: Sequence[float]
    after: Sequence[float]
    better: float
    error: float

    @property
    def verdict(self) -> str:
        """Whether it helps or harms by more than two standard errors."""
        if abs(self.better) <= 2 * self.error:
            return "no harm"
        return "helps" if self.better > 0 else "harms"


def follow(study: Study, workers: int, times: int, database: Engine) -> Iterator[Followed]:
    """Run a study, and follow each advice of its report."""
    run = caviar.run(study, workers=workers, database=database)
    before = _trained_again(study.name, times, database)
    for step in run.next_steps:
        if step.reason != "advice" or before is None:
            continue
        words = shlex.split(step.command)
        subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True)
        name = words[words.index("--name") + 1] if "--name" in words else study.name
        caviar.run(name, workers=workers, database=database)
        if (after := _trained_again(name, times, database)) is None:
            continue
        better = statistics.mean(after) - statistics.mean(before)
        error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (before, after)))
        sign = 1 if study.maximize else -1
        yield Followed(study.name, step.command, step.why, before, after, sign * better, error)


def _row(one: Followed) -> dict[str, Any]:
    """Print an advice and what came of it, and return it for the results."""
    before, after = statistics.mean(one.before), statistics.mean(one.after)
    difference = f"{before:.4f} -> {after:.4f} ({one.better:+.4f} ± {2 * one.error:.4f})"
    print(f"{one.verdict:<8} {difference}  {one.command}  ({one.why})", flush=True)
    return {
        "study": one.study, "command": one.command, "why": one.why, "verdict": one.verdict,
        "better": round(one.better, 5), "error": round(one.error, 5),
    }  # fmt: skip


def _trained_again(name: str, times: int, database: Engine) -> Sequence[float] | None:
    """Return the metrics of fresh trainings of a study's winner; None where it has no two trials to compare."""
    try:
        winner = caviar.confirm(name, times=times, database=database)
    except caviar.CaviarError:
        return None
    return winner.confirmation.winner_values if winner is not None and winner.confirmation is not None else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only studies with this in their names; writes nothing"
    )
    parser.add_argument("--short", action="store_true", help="the first three studies")
    options = parser.parse_args()
    chosen = [s for s in studies() if options.only in s.name][: 3 if options.short else None]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["CAVIAR_HOME"] = home  # the workers' too
        os.environ.pop("CAVIAR_DATABASE_URL", None)
        os.chdir(Path(__file__).parent)  # where this module is found, whose data it names
        with caviar.connect() as database:
            for study in chosen:
                for one in follow(study, options.workers, options.times, database):
                    rows.append(_row(one))
    counts = Counter(row["verdict"] for row in rows)
    print(f"{len(chosen)} studies, {len(rows)} advices: {dict(counts)}")
    if not options.only:
        write("advice", options, studies=len(chosen), rows=rows, counts=dict(counts))


if __name__ == "__main__":
    main()
