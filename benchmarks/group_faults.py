"""Do all ranks of a trial end together, whatever ends them, and is anything left behind?

    python benchmarks/group_faults.py [--faults 200] [--ranks 2] [--workers 2] [--short]

Each trial has several ranks, which train one network by DistributedDataParallel on the CPU, and each rank has started a
process of its own. Meanwhile, in turn, the first rank, the last one and the worker are killed by SIGKILL in the middle
of an epoch, the worker is asked to end by SIGTERM, and the study is paused, and goes on once the ranks have ended; and
three of four trials are pruned near their end. It is measured how far apart the first and the last process of a trial
end, and how long after the fault. Then each trial must have the curve of one that was left alone, and all ranks must
have had the same hyperparameters, weights and epochs, and have left their loop for the same reason.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import torch
from torch.nn.parallel import DistributedDataParallel

import caviar
from caviar.storage.processes import is_alive

HIT_AT = (2, 4, 6)  # the epochs of each trial in which something is done to it, one after the other
EPOCHS, BATCHES, BATCH_SECONDS = 9, 5, 0.02
PRUNED_AT, BAD_LOSS = 8, 1000.0  # the epoch in which a trial is pruned, for a loss that the pruner does not take
LEFT_AFTER = 30.0  # seconds, when what still lives counts as left behind

Group = dict[int, dict[str, Any]]  # what each rank has noted in an epoch, by rank


def is_pruned(trial: int) -> bool:
    return trial % 4 != 0


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
        weights = sum(parameter.detach().double().sum().item() for parameter in net.parameters())
        _note(str(trial["notes"]), {**me, "epoch": epoch, "weights": weights})
        for x in trial.batches(torch.randn(BATCHES, 8, 4)):
            time.sleep(BATCH_SECONDS)
            loss = (model(x) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trial.report(loss=BAD_LOSS if epoch == PRUNED_AT and is_pruned(trial.number) else loss.detach())
    _note(str(trial["notes"]), {**me, "ended": trial.ended})


def _note(path: str, what: dict[str, Any]) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(what) + "\n")


class Disturber(threading.Thread):
    """Does something to each trial in some of its epochs, and measures how its processes end."""

    def __init__(self, study: str, notes: Path, faults: int, ranks: int) -> None:
        super().__init__(daemon=True)
        self.apart: dict[str, list[float]] = defaultdict(list)  # seconds from the first end to the last one
        self.after: dict[str, list[float]] = defaultdict(list)  # seconds from the fault to the last end
        self.left = 0
        self._study, self._notes, self._faults, self._ranks = study, notes, faults, ranks
        self._hits = Counter[int]()  # by trial
        self._watched = list[threading.Thread]()  # ends of trials that are pruned
        self._kinds: list[tuple[str, Callable[[Group], object]]] = [
            ("first rank killed", lambda group: os.kill(group[0]["pid"], signal.SIGKILL)),
            ("worker terminated", lambda group: os.kill(group[0]["worker"], signal.SIGTERM)),
            ("last rank killed", lambda group: os.kill(group[ranks - 1]["pid"], signal.SIGKILL)),
            ("study paused", lambda group: caviar.pause(study)),  # noqa: ARG005
            ("worker killed", lambda group: os.kill(group[0]["worker"], signal.SIGKILL)),
        ]

    def run(self) -> None:
        groups: dict[tuple[Any, ...], Group] = defaultdict(dict)
        with self._notes.open() as file:
            while self._hits.total() + len(self._watched) < self._faults:
                line = file.readline()
                if not line:
                    time.sleep(0.005)
                    continue
                note = json.loads(line)
                if "epoch" not in note:
                    continue
                key = (note["trial"], note["port"], note["starter"], note["epoch"])
                groups[key][note["rank"]] = note
                if len(groups[key]) == self._ranks:
                    self._meet(groups[key], note["trial"], note["epoch"])

    def finish(self) -> None:
        """Wait for the ends that are being measured."""
        self.join()
        for thread in self._watched:
            thread.join()

    def _meet(self, group: Group, trial: int, epoch: int) -> None:
        """Take note that all ranks of a trial are in an epoch."""
        if not all(map(is_alive, _processes(group))):
            return
        if epoch == PRUNED_AT and is_pruned(trial):
            thread = threading.Thread(target=self._measure, args=("trial pruned", group), daemon=True)
            thread.start()
            self._watched.append(thread)
        elif self._hits[trial] < len(HIT_AT) and epoch >= HIT_AT[self._hits[trial]] and epoch < PRUNED_AT:
            kind, do = self._kinds[self._hits.total() % len(self._kinds)]
            self._hits[trial] += 1
            started = time.monotonic()
            do(group)
            self.after[kind].append(self._measure(kind, group) - started)
            if kind == "study paused":
                caviar.resume(self._study)

    def _measure(self, kind: str, group: Group) -> float:
        """Wait until all processes of a trial have ended; return when the last one had."""
        lives, ends, deadline = _processes(group), list[float](), time.monotonic() + LEFT_AFTER
        while lives and time.monotonic() < deadline:
            for process in [process for process in lives if not is_alive(process)]:
                lives.remove(process)
                ends.append(time.monotonic())
            time.sleep(0.002)
        self.left += len(lives)
        ends += [time.monotonic()] * len(lives)
        self.apart[kind].append(max(ends) - min(ends))
        return max(ends)


def _processes(group: Group) -> set[int]:
    return {note[of] for note in group.values() for of in ("pid", "child")}


def study_of(name: str, notes: Path, faults: int, ranks: int) -> caviar.Study:
    budget = -(-faults // len(HIT_AT)) + 2  # some trials end before all is done to them
    return caviar.Study(
        name=name, train="group_faults:train", metric="loss", epochs=EPOCHS, budget=budget, gpus=ranks,
        pruner=f"ThresholdPruner(upper={BAD_LOSS / 2})", strategy="random", fixed={"notes": str(notes)},
        tiers=({"lr": caviar.Log(1e-4, 1e-1, default=1e-2)},),
    )  # fmt: skip


def curves(name: str) -> dict[int, tuple[float | None, ...]]:
    return {curve.trial.trial: curve.values for curve in caviar.curves(name)}


def differing(notes: Path) -> int:
    """Return in how many groups of ranks not all had the same values, epochs but for the last, and ends."""
    groups: dict[tuple[Any, ...], dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
    ends = defaultdict[tuple[Any, ...], set[str]](set)
    for note in map(json.loads, notes.read_text().splitlines()):
        key = note["trial"], note["port"], note["starter"]
        if "ended" in note:
            ends[key].add(note["ended"])
        else:
            groups[key][note["rank"]].append((note["lr"], note["epoch"], note["weights"]))
    different = 0
    for key, by_rank in groups.items():
        whole = max(by_rank.values(), key=len)
        same = all(seen == whole[: len(seen)] and len(seen) >= len(whole) - 1 for seen in by_rank.values())
        different += not same or len(ends[key]) > 1
    return different


def _seconds(times: list[float]) -> dict[str, float | None]:
    return {"median": round(statistics.median(times), 3), "longest": round(max(times), 3)} if times else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="18 faults")
    options = parser.parse_args()
    if options.short:
        options.faults = 18
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CAVIAR_HOME"] = folder
        notes, others = Path(folder, "notes"), Path(folder, "undisturbed")
        notes.touch()
        disturber = Disturber("disturbed", notes, options.faults, options.ranks)
        disturber.start()
        started = time.monotonic()
        caviar.run(study_of("disturbed", notes, options.faults, options.ranks), workers=options.workers)
        seconds = time.monotonic() - started
        disturber.finish()
        caviar.run(study_of("undisturbed", others, options.faults, options.ranks), workers=options.workers)
        found, expected = curves("disturbed"), curves("undisturbed")
        rows = [
            {
                "fault": fault, "n": len(apart), "apart": _seconds(apart), "after": _seconds(disturber.after[fault]),
                "over_2_s": sum(time > 2 for time in apart),
            }
            for fault, apart in sorted(disturber.apart.items())
        ]  # fmt: skip
        outcome = {
            "faults": sum(row["n"] for row in rows),
            "processes_left": disturber.left,
            "trials": len(found),
            "trials_that_differ": sum(found[number] != curve for number, curve in expected.items()),
            "groups_whose_ranks_differ": differing(notes) + differing(others),
            "seconds": round(seconds),
        }
    for row in rows:
        print(row)
    print(outcome)
    machine.write("group_faults", options, kinds=rows, **outcome)


if __name__ == "__main__":
    main()
