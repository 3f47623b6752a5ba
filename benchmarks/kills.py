"""Programs that were not written for Caviar, under Caviar, whose workers are killed at random moments.

    python benchmarks/kills.py [--kills 100] [--programs plain-loop,regression] [--seed 0] [--short]

Each is a folder of examples/: before.py is the program as it was, train.py the same for a study; the lines that were
changed or added are counted. A study of it is trained twice, without a disturbance and with workers that are ended by
`kill -9` at random moments, one after the other, until so many were. Then each trial has to be there once, with each of
its epochs once, and its curve has to be that of the undisturbed trial, bit for bit.

A worker is a process with the class Worker, as studies/workers/local/process.py makes it, forked from one that has
imported PyTorch: 100 kills would else take 100 imports. States are saved every 0.1 s instead of every 10 s, or these
trials, which take a second, would always begin again. The strategy is `random` without a pruner, in which no trial
depends on another one.

Prints a line for each program, and writes benchmarks/results/kills.json; its short form writes kills-short.json. The
exit code is 1 if a trial was lost, doubled or differs.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = ("plain-loop", "regression", "steps", "lightning", "transformers", "accelerate", "scikit-learn",
            "objective", "command")  # fmt: skip
BUDGET = 6  # trials of a study; there are as many studies as it takes


def changed_lines(program: str) -> int:
    """Return how many lines of a program were changed or added."""
    before, after = (EXAMPLES / program / name for name in ("before.py", "train.py"))
    if not before.exists():
        return 0
    lines = difflib.ndiff(before.read_text().splitlines(), after.read_text().splitlines())
    return sum(line.startswith("+ ") for line in lines)


def disturb(program: str, kills: int, seed: int) -> dict[str, Any]:
    """Search with a program in this process's folder, and kill so many workers; return what was counted."""
    import torch

    import caviar
    from caviar.studies.workers.trial import checkpoints

    sys.path.insert(0, "")
    checkpoints._CHECKPOINT_SECONDS = 0.1
    torch.set_num_threads(1)
    study = import_module("tune").STUDY
    if study.entry is not None:
        import_module(study.entry.partition(":")[0])
    total = {"trials": 0, "epochs": 0, "kills": 0, "in training": 0, "taken over": 0,
             "lost": 0, "doubled": 0, "different": 0}  # fmt: skip
    started = time.perf_counter()
    with caviar.connect() as engine:
        while total["kills"] < kills:
            quiet = Search(engine, study, f"quiet-{seed}", seed)
            took = quiet.train()
            disturbed = Search(engine, study, f"disturbed-{seed}", seed)
            epoch = took / sum(map(len, quiet.curves().values()))
            disturbed.train_killed(kills - total["kills"], epoch, Random(seed))
            for name, number in disturbed.count(quiet.curves()).items():
                total[name] += number
            seed += 1
    return {"program": program, "changed lines": changed_lines(program), **total,
            "seconds": round(time.perf_counter() - started)}  # fmt: skip


class Search:
    """One study of a program, and its workers, of which one lives at a time."""

    def __init__(self, engine: Any, study: Any, name: str, seed: int) -> None:
        from caviar.studies.definition import change
        from caviar.studies.lifecycle.manager import open_study

        given = {"budget": BUDGET, "seed": seed, "strategy": "random", "pruner": "none"}
        self._engine, self._record = engine, open_study(engine, change(study, name=f"{study.name}-{name}", **given))
        self._counts = {"kills": 0, "in training": 0}

    def train(self) -> float:
        """Let one worker train all trials, and return its seconds."""
        started = time.perf_counter()
        _, status = os.waitpid(self._start(), 0)
        if status:
            raise SystemExit(f"{self._record.name}: the worker ended with status {status}")
        return time.perf_counter() - started

    def train_killed(self, kills: int, seconds: float, random: Random) -> None:
        """Kill so many workers, or until the trials are done.

        Each is killed after 0 to 4 new epochs, and up to so many seconds. A slot whose workers die five times in a row
        without a new epoch is given up: it may be what kills them.
        """
        from caviar.storage.losses import release_dead
        from caviar.storage.processes import machine_id
        from caviar.storage.records import WorkerDeath

        while self._number("SELECT count(*) FROM caviar.slot WHERE study_id = :study AND state = 'open'"):
            if self._counts["kills"] == kills:
                self.train()
                continue
            worker, until = self._start(), self._epochs() + random.randrange(5)
            while goes_on := os.waitpid(worker, os.WNOHANG) == (0, 0):
                if self._epochs() >= until:
                    break
                time.sleep(0.002)
            if goes_on:
                time.sleep(random.uniform(0, seconds))
                os.kill(worker, signal.SIGKILL)
                os.waitpid(worker, 0)
                self._counts["kills"] += 1
                death = {worker: WorkerDeath("killed")}  # as the supervisor of workers says
                self._counts["in training"] += release_dead(self._engine, self._record.study_id, machine_id(), death)

    def curves(self) -> dict[int, list[tuple[int, dict[str, float]]]]:
        """Return the metrics of each epoch of each trial."""
        from caviar.storage.curves import read_curves

        found = read_curves(self._engine, self._record.study_id)
        return {number: [(epoch.epoch, dict(epoch.metrics)) for epoch in curve] for number, curve in found.items()}

    def count(self, undisturbed: dict[int, list[tuple[int, dict[str, float]]]]) -> dict[str, int]:
        """Return what was lost, doubled, or is different from an undisturbed search."""
        from caviar.storage.status import read_trials

        trials, curves = read_trials(self._engine, self._record.study_id), self.curves()
        rows = self._number("SELECT count(*) FROM public.trials WHERE study_id = :optuna")
        complete = [trial.slot.number for trial in trials if trial.state == "complete"]
        return {
            **self._counts, "trials": len(trials), "epochs": sum(map(len, curves.values())),
            "taken over": self._number("SELECT sum(attempts - 1) FROM caviar.slot WHERE study_id = :study"),
            "lost": BUDGET - len(set(complete)), "doubled": rows - len(set(complete)),
            "different": sum(curves.get(number) != curve for number, curve in undisturbed.items()),
        }  # fmt: skip

    def _epochs(self) -> int:
        return self._number("SELECT count(*) FROM caviar.epoch WHERE study_id = :study")

    def _number(self, query: str) -> int:
        from sqlalchemy import text

        with self._engine.connect() as connection:
            known = {"study": self._record.study_id, "optuna": self._record.optuna_study_id}
            return int(connection.scalar(text(query), {n: v for n, v in known.items() if f":{n}" in query}))

    def _start(self) -> int:
        """Fork a worker, and return its process."""
        self._engine.dispose()  # a connection belongs to one process
        worker = os.fork()
        if worker == 0:
            try:
                _work(self._engine.url, self._record)
            except BaseException as error:  # noqa: BLE001 - the parent's code is not to go on here
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        return worker


def _work(url: Any, record: Any) -> None:
    from caviar.storage.engine import make_engine
    from caviar.studies.api.session import data_folder, settings_of
    from caviar.studies.workers.context import begin_work
    from caviar.studies.workers.local.options import WorkerOptions
    from caviar.studies.workers.local.signals import Stop
    from caviar.studies.workers.worker import Worker

    engine = make_engine(url)
    options = WorkerOptions(settings_of(engine), record.name, data_folder())
    Worker(begin_work(engine, record, options, "cpu", Stop())).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="5 kills each")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # the process of one program
    options = parser.parse_args()
    kills = 5 if options.short else options.kills
    if options.here:
        sys.stdout.write(json.dumps(disturb(options.programs, kills, options.seed)))
        return
    rows = []
    for program in options.programs.split(","):
        rows.append(_in_a_copy(program, ["--kills", str(kills), "--seed", str(options.seed)]))
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    from machine import write

    write("kills", options, programs=rows)
    sys.exit(any(row[wrong] for row in rows for wrong in ("lost", "doubled", "different")))


def _in_a_copy(program: str, options: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, program)
        shutil.copytree(EXAMPLES / program, copy)
        environ = {**os.environ, "CAVIAR_HOME": str(Path(folder, "home")), "OMP_NUM_THREADS": "1"}
        environ.pop("CAVIAR_DATABASE_URL", None)
        said = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), "--here", "--programs", program, *options],
            cwd=copy, env=environ, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
