"""Model-epochs per second of one core or GPU: the usual DataLoader loop, the in-memory loop, and cohorts.

    python benchmarks/throughput.py [--data-dir DIR] [--short] [--repeats 5] [--examples 12800] [--device cuda]

DIR is where Caviar keeps its data sets; without MNIST in it, `digits` alone is measured. Each way trains the same
networks on the same examples, each model in an order of its own, for one epoch with its evaluation; the ways are
interleaved, and compared pair by pair.
Prints a table and writes benchmarks/results/throughput.json (of a GPU throughput-cuda.json) with hardware, versions, n,
median and spread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import describe, write_document
from torch import nn
from torch.nn.functional import cross_entropy

from caviar.models.cohort import Cohort
from caviar.models.data import Data, Part, load
from caviar.models.errors import DataUnavailable
from caviar.models.optim import Settings
from caviar.models.registry import model_class
from caviar.models.training import Training
from caviar.studies.api.session import data_folder

SIZES = {"cpu": (4, 8, 16, 32), "cuda": (8, 32, 128)}


@dataclass(frozen=True)
class Shape:
    """A network and its mini-batch, on a data set."""

    data: str
    model: str
    batch: int

    def build(self, sample: tuple[int, ...], classes: int) -> nn.Module:
        return model_class(self.model)(sample, classes)

    def training(self, data: Data, number: int) -> Training:
        return Training(
            partial(model_class(self.model)), Settings(batch_size=self.batch, learning_rate=0.05), data, number
        )


def usual_loop(shape: Shape, data_dir: Path, examples: int, held_out: int, device: torch.device) -> float:
    """Train and evaluate as Optuna's example for PyTorch does: DataLoader, ToTensor, a synchronisation each step."""
    from torch.utils.data import DataLoader, Subset
    from torchvision import datasets, transforms

    dataset = datasets.MNIST(data_dir, train=True, transform=transforms.ToTensor())
    count = len(dataset)
    training = DataLoader(Subset(dataset, range(examples)), batch_size=shape.batch, shuffle=True)
    validation = DataLoader(Subset(dataset, range(count - held_out, count)), batch_size=shape.batch)
    model = shape.build((1, 28, 28), 10).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    started = time.perf_counter()
    model.train()
    for x, y in ((x.to(device), y.to(device)) for x, y in training):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in ((x.to(device), y.to(device)) for x, y in validation):
            right += model(x).argmax(1).eq(y).sum().item()
    return time.perf_counter() - started


def in_memory(shape: Shape, data: Data) -> float:
    training = shape.training(data, 0)
    started = time.perf_counter()
    next(training.epochs(1))
    return time.perf_counter() - started


def cohort(shape: Shape, data: Data, size: int) -> float:
    """Return the seconds per model."""
    members = [shape.training(data, number) for number in range(size)]
    started = time.perf_counter()
    Cohort(members).epoch()
    return (time.perf_counter() - started) / size


def arithmetic(shape: Shape, data: Data) -> float:
    """Return the operations in matrix products of one epoch of a perceptron, its evaluation included; 0 of others."""
    weights = [
        layer.weight for layer in shape.build(data.sample, data.outputs).modules() if isinstance(layer, nn.Linear)
    ]
    if shape.model != "mlp":
        return 0.0
    every, first = sum(w.numel() for w in weights), weights[0].numel()
    # Forward, the weights' gradient, and the layer's input's, which the first one does not need.
    return 2 * len(data.training.y) * (3 * every - first) + 2 * len(data.validation.y) * every


def sgemm_rate(size: int = 512, times: int = 30) -> float:
    """Return this core's operations per second in single-precision matrix products."""
    one, other = torch.randn(size, size), torch.randn(size, size)
    for _ in range(3):
        one @ other
    started = time.perf_counter()
    for _ in range(times):
        one @ other
    return times * 2 * size**3 / (time.perf_counter() - started)


def part_of(data: Data, examples: int) -> Data:
    """Return a data set with so many training examples, and a validation part that is smaller in proportion."""
    share = min(1.0, examples / len(data.training.y))
    held_out = int(len(data.validation.y) * share)
    return Data(
        Part(data.training.x[:examples], data.training.y[:examples]),
        Part(data.validation.x[:held_out], data.validation.y[:held_out]),
        data.outputs,
    )


def measure(shape: Shape, data: Data, data_dir: Path, repeats: int) -> Iterator[dict[str, Any]]:
    device = data.training.y.device
    ways: dict[str, Callable[[], float]] = {"in memory": partial(in_memory, shape, data)}
    if shape.data == "mnist":
        counts = len(data.training.y), len(data.validation.y)
        ways["DataLoader"] = partial(usual_loop, shape, data_dir, *counts, device)
    ways |= {f"cohort of {size}": partial(cohort, shape, data, size) for size in SIZES[device.type]}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    rates = []
    for turn in range(repeats + 1):  # the first warms up
        for way, run in ways.items():
            taken = run()
            if turn:
                seconds[way].append(taken)
        rates.append(sgemm_rate() if device.type == "cpu" else 0.0)
    work, rate = arithmetic(shape, data), statistics.median(rates)
    for way, taken in seconds.items():
        ratios = sorted(one / other for one, other in zip(seconds["in memory"], taken, strict=True))
        yield {
            **vars(shape), "way": way, "n": repeats, "seconds": taken,
            "epochs_per_second": 1 / statistics.median(taken),
            "ratio": statistics.median(ratios), "least": ratios[0], "most": ratios[-1],
            "of_sgemm": work / statistics.median(taken) / rate if work and rate else None,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=data_folder(None))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--examples", type=int, default=12_800)
    parser.add_argument("--device", choices=sorted(SIZES), default="cpu")
    parser.add_argument("--short", action="store_true", help="fewer examples and repeats")
    options = parser.parse_args()
    if options.short:
        options.examples, options.repeats = 6_400, 3
    torch.set_num_threads(1)
    shapes = [Shape("digits", "mlp", 32), *(Shape("mnist", "mlp", batch) for batch in (32, 64, 256))]
    shapes += [Shape("mnist", "cnn", batch) for batch in (64, 256)]
    rows = []
    print(f"{'data':<8} {'model':<6} {'batch':>5}  {'way':<14} {'epochs/s':>9}  to in memory (least, most)  of sgemm")
    for shape in shapes:
        try:
            data = load(shape.data, options.data_dir, torch.device(options.device))
        except DataUnavailable as error:
            print(f"{shape.data}: left out: {error}")
            continue
        fewer = options.examples // 4 if shape.model == "cnn" else options.examples
        for row in measure(shape, part_of(data, fewer), options.data_dir, options.repeats):
            rows.append(row)
            of = f"{row['of_sgemm']:.0%}" if row["of_sgemm"] else ""
            spread = f"{row['ratio']:7.2f} ({row['least']:.2f}, {row['most']:.2f})"
            print(f"{shape.data:<8} {shape.model:<6} {shape.batch:>5}  {row['way']:<14} "
                  f"{row['epochs_per_second']:9.2f}  {spread} {of:>16}", flush=True)  # fmt: skip
    document = {"machine": describe(), "options": {**vars(options), "data_dir": None}, "rows": rows}
    name = "throughput" if options.device == "cpu" else f"throughput-{options.device}"
    write_document(name, document)


if __name__ == "__main__":
    main()
