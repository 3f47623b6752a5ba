"""What a training function costs under Caviar, compared with the same loop by hand.

    python benchmarks/overhead.py [--epochs 10] [--seconds 2] [--repeats 3] [--short]

A network is trained for epochs of about 2 s, by a loop of its own and by a worker with `train=`, one after the other
and so many times; what the network's and the optimizer's states are (4 MB) is saved every 10 s as always. Measured are:

- the overhead: how much longer an epoch takes under Caviar, by the medians of all epochs, from the start of one to the
  start of the next;
- the pause: from the end of an epoch's own work to the start of the next one's, in which its report is written and its
  verdict asked for, as a share of the epoch. It does not depend on what else this machine does;
- the statements: of SQL, for each epoch, by trials of as many epochs and of 2; without BEGIN, COMMIT and the renewals
  of the lease, which are by the clock.

Prints them and writes benchmarks/results/overhead.json; the short form, of 3 epochs of 0.5 s, writes
overhead-short.json. The exit code is 1 if the pause is above 2 % or an epoch has more than 3 statements.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from machine import write
from sqlalchemy import Engine, event
from torch.nn.functional import mse_loss

import caviar
from caviar.studies.api.session import data_folder, settings_of
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.workers.context import begin_work
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.worker import Worker

STEPS = 0  # of an epoch
NOWHERE = Path(os.devnull).open("w")  # noqa: SIM115 - as long as this program
SPANS: list[tuple[float, float]] = []  # the start and the end of each epoch's own work
MOST_PAUSE, MOST_STATEMENTS = 0.02, 3.0


class ByHand:
    """What the training function is given without Caviar."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def keep(self, **objects: Any) -> None: ...

    def epochs(self) -> Iterator[int]:
        return iter(range(1, self._epochs + 1))

    def report(self, **metrics: Any) -> None:
        print(*(metric.item() for metric in metrics.values()), file=NOWHERE)


def train(trial: Any) -> None:
    """Train a network of 330,000 weights on random numbers."""
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.Linear(512, 1)
    )
    optimizer = torch.optim.Adam(net.parameters())
    trial.keep(net=net, optimizer=optimizer)
    for _ in trial.epochs():
        started = time.perf_counter()
        for _ in range(STEPS):
            x = torch.randn(64, 64)
            loss = mse_loss(net(x).squeeze(1), x.sum(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        SPANS.append((started, time.perf_counter()))
        trial.report(loss=loss)


def calibrate(seconds: float) -> None:
    """Choose the steps of an epoch, so that one takes about so many seconds."""
    global STEPS
    STEPS = 100
    by_hand(2)
    start, end = SPANS[-1]
    STEPS = max(1, round(100 * seconds / (end - start)))


def by_hand(epochs: int) -> None:
    """Train without Caviar."""
    SPANS.clear()
    train(ByHand(epochs))


def by_caviar(engine: Engine, name: str, epochs: int) -> int:
    """Train one trial by a worker in this process, and return its statements."""
    SPANS.clear()
    study = caviar.Study(
        name=name, train="overhead:train", metric="loss", epochs=epochs, budget=1, pruner="none",
        tiers=[{"lr": caviar.Log(1e-4, 1e-1, default=1e-3)}],
    )  # fmt: skip
    record, main, counted = open_study(engine, study), threading.get_ident(), 0

    def count(*_: Any) -> None:
        nonlocal counted
        counted += threading.get_ident() == main

    worker = Worker(begin_work(engine, record, WorkerOptions(settings_of(engine), name, data_folder()), "cpu", Stop()))
    event.listen(engine, "before_cursor_execute", count)
    try:
        worker.run()
    finally:
        event.remove(engine, "before_cursor_execute", count)
    return counted


def lengths() -> list[float]:
    """Return the seconds from the start of each epoch to the start of the next."""
    return [after[0] - before[0] for before, after in pairwise(SPANS)]


def pauses() -> list[float]:
    """Return the share of each epoch in which its own work stood still."""
    return [(after[0] - before[1]) / (after[0] - before[0]) for before, after in pairwise(SPANS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="3 epochs of 0.5 s, once")
    options = parser.parse_args()
    if options.short:
        options.epochs, options.seconds, options.repeats = 3, 0.5, 1
    sys.modules["overhead"] = sys.modules["__main__"]  # the study names the function by its module
    sys.path.insert(0, str(Path(__file__).parent))
    torch.set_num_threads(1)
    calibrate(options.seconds)
    hand, tuned, paused, statements = [], [], [], []
    with tempfile.TemporaryDirectory() as home:
        os.environ["CAVIAR_HOME"] = home
        os.environ.pop("CAVIAR_DATABASE_URL", None)
        with caviar.connect() as engine:
            for repeat in range(options.repeats):
                by_hand(options.epochs)
                hand += lengths()
                few = by_caviar(engine, f"few-{repeat}", 2)
                many = by_caviar(engine, f"many-{repeat}", options.epochs)
                tuned += lengths()
                paused += pauses()
                statements.append((many - few) / (options.epochs - 2))
    found = {
        "n": len(tuned), "epoch_seconds": round(statistics.median(hand), 3),
        "overhead": round(statistics.median(tuned) / statistics.median(hand) - 1, 4),
        "pause_median": round(statistics.median(paused), 5), "pause_most": round(max(paused), 5),
        "statements_per_epoch": statistics.median(statements),
    }  # fmt: skip
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    write("overhead", options, **found)
    sys.exit(found["pause_median"] > MOST_PAUSE or found["statements_per_epoch"] > MOST_STATEMENTS)


if __name__ == "__main__":
    main()
