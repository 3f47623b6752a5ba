"""What keeping and choosing cost: SQL statements and milliseconds for each trial and epoch, beside plain Optuna.

    python benchmarks/storage_cost.py [--sizes 100,1000,5000,20000] [--workers 1,4,16] [--trials 10] [--repeats 3]
                                      [--short]

Studies of so many finished trials of 10 epochs (two of three complete, the others pruned), in the search space of the
catalog's `digits`, are written into the tables by SQL. Then fresh processes run trials that take no time: on one side
Caviar's own Worker, with all that belongs to it, on the other what Optuna's documentation shows (get_storage, TPE,
MedianPruner; ask, suggest, report, should_prune, tell). Both on one server, each in a copy of the same database.

- first trial: from a process's first connection until its trial has its values and its row, imports not counted;
- statements and ms of an epoch, statements of a trial: trials of 10 and of 2 epochs are run; the difference is the
  epochs, what remains the trial;
- ms to begin a trial: from the end of the one before until its values are chosen and written, most of it the sampler's;
- ms of a trial: that, and 10 epochs and the end; with one worker, each but its first;
- with more workers, on this machine's cores: milliseconds of a worker for each trial, and what all make together;
- running at once: how the look at what others did, after an epoch, grows with the trials that run at the same time;
- cohort: the one write of an epoch for all trials that a worker trains as one program (elsewhere it trains one);
- overhead: the share of their lives that the workers of `caviar run digits` do not spend in epochs.

Left out: the training. Caviar's side trains 16 examples for a step, whose time (caviar.epoch.seconds) is taken off;
making the network and saving the weights of a best trial stay in. Left out, too, are the filled trials' user
attributes, which neither side's sampler reads; no new trial is pruned: the filled ones are worse. BEGIN and COMMIT
are not counted as statements on either side.

Prints tables and writes benchmarks/results/storage_cost.json with hardware, versions, n, median and spread; its short
form writes storage_cost-short.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import optuna
from filled import EPOCHS, NAME, Databases, execute, leave_open, let_run
from machine import write
from metered import Meter, Run, be_worker
from sqlalchemy import create_engine, text

from caviar.storage.definitions import load_study
from caviar.storage.embedded import serve
from caviar.storage.engine import make_engine
from caviar.storage.history import History
from caviar.studies.workers.local.pool import PRELOAD

FEW = 2  # epochs, to be compared with the filled trials' 10
SIDES = ("caviar", "optuna")
CAVIAR = str(Path(sys.executable).parent / "caviar")

OVERHEAD = """
    SELECT sum(extract(epoch FROM coalesce(ended_at, last_seen) - started_at))::float AS life,
           (SELECT sum(seconds) FROM caviar.epoch) AS training
    FROM caviar.worker
"""


class Bench:
    """Fresh worker processes on copies of filled databases."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)

    def run(
        self, side: str, size: int, epochs: int, trials: int, workers: int, cohort: int = 1
    ) -> tuple[list[Run], float]:
        """Let fresh workers run so many trials each; return what they measured, and the training seconds of all."""
        with self.databases.copy(side, size) as url:
            if side == "caviar":
                leave_open(url, size, trials * workers)
            barrier, results = self._context.Barrier(workers), self._context.Queue()
            given = side, url.render_as_string(hide_password=False), epochs, trials, cohort, barrier, results
            processes = [self._context.Process(target=be_worker, args=given) for _ in range(workers)]
            for process in processes:
                process.start()
            runs = [results.get(timeout=900) for _ in processes]
            for process in processes:
                process.join()
            query = f"SELECT sum(seconds) FROM caviar.epoch WHERE slot >= {size}"
            return runs, execute(url, query) if side == "caviar" else 0.0


def one_worker(bench: Bench, side: str, size: int, trials: int, repeats: int) -> dict[str, Any]:
    """Return what trials and epochs cost one worker at one size; each trial but the first, which reads the study."""
    measured: dict[str, list[float]] = defaultdict(list)
    calls: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(repeats):
        to_begin, run_ms, counts = [], {}, {}
        for epochs in (FEW, EPOCHS):
            (run,), training = bench.run(side, size, epochs, trials + 1, 1)
            measured["first_trial_seconds"].append(run.begun[0] - run.started)
            to_begin += [1000 * (new - old) for old, new in zip(run.finished, run.begun[1:], strict=False)]
            took = [1000 * (new - old) for old, new in zip(run.begun[1:], run.finished[1:], strict=True)]
            run_ms[epochs] = statistics.median(took) - 1000 * training / (trials + 1)
            counts[epochs] = (run.statements[-1] - run.statements[0]) / trials
            for share, found in run.calls.items():
                for name, seconds in found.items():
                    calls[name][share] += seconds[1:]
        measured["begin_ms"].append(statistics.median(to_begin))
        measured["epoch_ms"].append((run_ms[EPOCHS] - run_ms[FEW]) / (EPOCHS - FEW))
        measured["trial_ms"].append(measured["begin_ms"][-1] + run_ms[EPOCHS])
        per_epoch = (counts[EPOCHS] - counts[FEW]) / (EPOCHS - FEW)
        measured["epoch_statements"].append(per_epoch)
        measured["trial_statements"].append(counts[EPOCHS] - EPOCHS * per_epoch)
    summary = {name: spread(values) for name, values in measured.items()}
    medians = {
        name: {"n": len(of["ms"]), **{share: 1000 * statistics.median(seconds) for share, seconds in of.items()}}
        for name, of in calls.items()
    }
    return {"side": side, "size": size, **summary, "calls": medians}


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "n": len(values)}


def many_workers(bench: Bench, side: str, size: int, trials: int, workers: int) -> dict[str, Any]:
    """Return what a trial costs each of several workers, and how many they make together."""
    runs, training = bench.run(side, size, EPOCHS, trials, workers)
    runs = [run for run in runs if run.finished]  # a worker may have come too late for a trial
    done = sum(len(run.finished) for run in runs)
    busy = sum(run.finished[-1] - run.begun[0] for run in runs) - training
    span = max(run.finished[-1] for run in runs) - min(run.begun[0] for run in runs)
    return {"side": side, "size": size, "workers": workers, "trials": done, "trial_ms": 1000 * busy / done,
            "trials_per_second": done / span}  # fmt: skip


def cohort_of(bench: Bench, size: int, members: int) -> dict[str, Any]:
    """Return what the write of an epoch costs for so many trials that are trained as one program."""
    (run,), _ = bench.run("caviar", size, EPOCHS, 2 * members, 1, cohort=members)
    taken = {share: 1000 * statistics.median(found["record"]) for share, found in run.calls.items()}
    return {"size": size, "members": members, "n": len(run.calls["ms"]["record"]), **taken}


def look_at_others(bench: Bench, size: int, running: int) -> dict[str, Any]:
    """Return what one reading of the changes costs while so many trials run."""
    with bench.databases.copy("caviar", size) as url:
        let_run(url, size, running)
        engine = make_engine(url)
        meter = Meter(engine)
        history = History(engine, load_study(engine, NAME).optuna_study_id, maximize=True)
        history.refresh()
        meter.time(history, "refresh")
        for _ in range(7):
            history.refresh()
        engine.dispose()
    server, whole = (1000 * statistics.median(found["refresh"]) for found in (meter.answers, meter.takes))
    return {"size": size, "running": running, "server_ms": server, "ms": whole}


def overhead() -> dict[str, float]:
    """Run `digits` with 2 workers; return the share of their lives that is not training."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**{n: v for n, v in os.environ.items() if not n.startswith("CAVIAR_")}, "CAVIAR_HOME": home}
        subprocess.run([CAVIAR, "run", "digits", "--workers", "2"], env=environ, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        with serve(Path(home), [].append) as url:
            engine = create_engine(url)
            with engine.connect() as connection:
                life, training = connection.execute(text(OVERHEAD)).one()
            engine.dispose()
    return {"life_seconds": life, "training_seconds": training, "overhead": (life - training) / life}


def print_sizes(bench: Bench, sizes: list[int], trials: int, repeats: int) -> tuple[list[dict[str, Any]], Any]:
    print(
        "one worker                 statements of a       ms to       ms of a         s until the\n"
        "side     finished trials    trial   epoch    begin   trial   epoch   first trial (n)",
        flush=True,
    )
    rows = []
    for size in sizes:
        for side in SIDES:
            row = one_worker(bench, side, size, trials, repeats)
            rows.append(row)
            print(f"{side:<8} {size:>15,} {row['trial_statements']['median']:>8.1f} "
                  f"{row['epoch_statements']['median']:>7.1f} {row['begin_ms']['median']:>8.0f} "
                  f"{row['trial_ms']['median']:>7.0f} {row['epoch_ms']['median']:>7.1f} "
                  f"{row['first_trial_seconds']['median']:>9.2f} "
                  f"({row['first_trial_seconds']['n']})", flush=True)  # fmt: skip
    ratios = {}
    for side in SIDES:
        costs = [row["trial_ms"]["median"] for row in rows if row["side"] == side]
        ratios[side] = costs[-1] / costs[0]
        print(f"{side}: a trial after {sizes[-1]:,} costs {ratios[side]:.1f} times one after {sizes[0]:,}")
    return rows, ratios


def print_workers(bench: Bench, counts: list[int], trials: int) -> list[dict[str, Any]]:
    print("\nside     finished   workers   ms of a worker per trial   trials/s of all", flush=True)
    rows = []
    for workers in counts:
        for side in SIDES:
            rows.append(many_workers(bench, side, 1000, trials, workers))
            print(f"{side:<8} {1000:>8,} {workers:>9} {rows[-1]['trial_ms']:>26.1f} "
                  f"{rows[-1]['trials_per_second']:>17.1f}", flush=True)  # fmt: skip
    return rows


def print_looks(bench: Bench) -> list[dict[str, Any]]:
    print("\nrunning at once   ms for one look at them   of which the server", flush=True)
    rows = []
    for running in (1, 10, 100, 1000):
        rows.append(look_at_others(bench, 1000, running))
        print(f"{running:>15,} {rows[-1]['ms']:>25.2f} {rows[-1]['server_ms']:>21.2f}", flush=True)
    return rows


def print_cohorts(bench: Bench) -> list[dict[str, Any]]:
    print("\ntrials in one cohort   ms for the write of an epoch of all   of which the server", flush=True)
    rows = []
    for members in (1, 4, 16):
        rows.append(cohort_of(bench, 1000, members))
        print(f"{members:>20,} {rows[-1]['ms']:>37.2f} {rows[-1]['statements_ms'] + rows[-1]['commit_ms']:>21.2f}",
              flush=True)  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000,5000,20000", help="finished trials")
    parser.add_argument("--workers", default="1,4,16", help="at 1,000 finished trials")
    parser.add_argument("--trials", type=int, default=10, help="that each worker runs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="up to 5,000 trials and 4 workers, once")
    options = parser.parse_args()
    if options.short:
        options.sizes, options.workers, options.trials, options.repeats = "100,1000,5000", "1,4", 5, 1
    sizes, counts = ([int(n) for n in given.split(",")] for given in (options.sizes, options.workers))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as home, serve(Path(home) / "server", [].append) as server:
        os.environ["CAVIAR_HOME"] = home  # where workers look for what they could not write
        bench = Bench(Databases(server))
        rows, ratios = print_sizes(bench, sizes, options.trials, options.repeats)
        shared = print_workers(bench, counts, options.trials)
        looks, cohorts = print_looks(bench), print_cohorts(bench)
    lived = overhead()
    print(f"\n`caviar run digits --workers 2`: {lived['overhead']:.0%} of {lived['life_seconds']:.0f} worker seconds "
          f"are not training (sampling, storage, start and end)")  # fmt: skip
    write("storage_cost", options, rows=rows, last_to_first=ratios, shared=shared, looks=looks, cohorts=cohorts,
          digits=lived)  # fmt: skip


if __name__ == "__main__":
    main()
