"""How soon do all ranks of a trial end when one of them, or their worker, is killed, and is anything left behind?

    python benchmarks/group_faults.py [--faults 200] [--ranks 2] [--workers 2] [--short]

Each trial has several ranks, which train one network by DistributedDataParallel on the CPU, and each rank has started a
process of its own. Meanwhile the first rank, the last one and the worker are killed in turn, by SIGKILL, in the middle
of an epoch; it is measured when the last process of that trial has ended. Then each trial must be complete, with the
curve of one that was left alone, and all ranks must have had the same values in the same epochs.

Writes benchmarks/results/group_faults.json, its short form group_faults-short.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import machine
import torch
from torch.nn.parallel import DistributedDataParallel

import caviar
from caviar.storage.processes import is_alive

FAULTS = ("first rank", "last rank", "worker")  # that is killed
HIT_AT = (2, 4, 6, 8)  # the epochs of each trial in which something is killed, one after the other
EPOCHS, BATCHES, BATCH_SECONDS = 9, 5, 0.02
LEFT_AFTER = 30.0  # seconds, when what still lives counts as left behind


def train(trial: caviar.Trial) -> None:
    """Train a network that the ranks share, and note what this rank is and sees."""
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 4)
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    trial.keep(net=net, optimizer=optimizer)
    model = DistributedDataParallel(net)
    starter = os.getppid()
    me = {
        "trial": trial.number, "rank": trial.rank, "lr": trial["lr"], "port": os.environ["MASTER_PORT"],
        "pid": os.getpid(), "child": subprocess.Popen(["sleep", "1000"]).pid, "starter": starter,
        "worker": int(Path(f"/proc/{starter}/stat").read_text().rpartition(")")[2].split()[1]),
    }  # fmt: skip
    for epoch in trial.epochs():
        _note(str(trial["notes"]), {**me, "epoch": epoch})
        for x in trial.batches(torch.randn(BATCHES, 8, 4)):
            time.sleep(BATCH_SECONDS)
            loss = (model(x) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trial.report(loss=loss.detach())


def _note(path: str, what: dict[str, Any]) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(what) + "\n")


class Killer(threading.Thread):
    """Kills something of each trial in some of its epochs, and measures how long the rest of it lives."""

    def __init__(self, notes: Path, faults: int, ranks: int) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.left = 0
        self._notes, self._faults, self._ranks = notes, faults, ranks
        self._hits = Counter[int]()  # by trial

    def run(self) -> None:
        groups: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = defaultdict(dict)
        with self._notes.open() as file:
            while sum(self._hits.values()) < self._faults:
                line = file.readline()
                if not line:
                    time.sleep(0.005)
                    continue
                note = json.loads(line)
                key = (note["trial"], note["port"], note["starter"], note["epoch"])
                groups[key][note["rank"]] = note
                number = self._hits[note["trial"]]
                if len(groups[key]) == self._ranks and number < len(HIT_AT) and note["epoch"] >= HIT_AT[number]:
                    self._hit(groups[key])

    def _hit(self, group: dict[int, dict[str, Any]]) -> None:
        fault = FAULTS[sum(self._hits.values()) % len(FAULTS)]
        target = {
            "first rank": group[0]["pid"],
            "last rank": group[self._ranks - 1]["pid"],
            "worker": group[0]["worker"],
        }
        involved = {note[of] for note in group.values() for of in ("pid", "child")}
        if not all(map(is_alive, involved)):
            return
        self._hits[group[0]["trial"]] += 1
        started = time.monotonic()
        os.kill(target[fault], signal.SIGKILL)
        while (lives := [pid for pid in involved if is_alive(pid)]) and time.monotonic() < started + LEFT_AFTER:
            time.sleep(0.002)
        self.seconds[fault].append(time.monotonic() - started)
        self.left += len(lives)


def study_of(name: str, notes: Path, faults: int, ranks: int) -> caviar.Study:
    budget = -(-faults // len(HIT_AT)) + 2  # some trials end before all is done to them
    return caviar.Study(
        name=name, train="group_faults:train", metric="loss", epochs=EPOCHS, budget=budget, gpus=ranks, pruner="none",
        strategy="random", tiers=({"lr": caviar.Log(1e-4, 1e-1, default=1e-2)},), fixed={"notes": str(notes)},
    )  # fmt: skip


def curves(name: str) -> dict[int, tuple[float | None, ...]]:
    return {curve.trial.trial: curve.values for curve in caviar.curves(name)}


def differing(notes: Path) -> int:
    """Return in how many groups of ranks not all had the same values, or more than the last epoch differs."""
    groups: dict[tuple[Any, ...], dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for note in map(json.loads, notes.read_text().splitlines()):
        groups[note["trial"], note["port"], note["starter"]][note["rank"]].append((note["lr"], note["epoch"]))
    different = 0
    for by_rank in groups.values():
        whole = max(by_rank.values(), key=len)
        different += any(seen != whole[: len(seen)] or len(seen) < len(whole) - 1 for seen in by_rank.values())
    return different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="9 faults")
    options = parser.parse_args()
    if options.short:
        options.faults = 9
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CAVIAR_HOME"] = folder
        notes, others = Path(folder, "notes"), Path(folder, "undisturbed")
        notes.touch()
        killer = Killer(notes, options.faults, options.ranks)
        killer.start()
        started = time.monotonic()
        caviar.run(study_of("disturbed", notes, options.faults, options.ranks), workers=options.workers)
        seconds = time.monotonic() - started
        caviar.run(study_of("undisturbed", others, options.faults, options.ranks), workers=options.workers)
        found, expected = curves("disturbed"), curves("undisturbed")
        rows = [
            {
                "killed": fault, "n": len(times), "median": round(statistics.median(times), 3),
                "longest": round(max(times), 3), "over_2_s": sum(time > 2 for time in times),
            }
            for fault, times in sorted(killer.seconds.items())
        ]  # fmt: skip
        outcome = {
            "processes_left": killer.left,
            "trials": len(found),
            "trials_that_differ": sum(found[number] != curve for number, curve in expected.items()),
            "groups_whose_ranks_differ": differing(notes) + differing(others),
            "seconds": round(seconds),
        }
    for row in rows:
        print(row)
    print(outcome)
    machine.write("group_faults", options, faults=rows, **outcome)


if __name__ == "__main__":
    main()
