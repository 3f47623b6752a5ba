"""How long `caviar run mnist` takes to be as good as a plain Optuna script is after its ten minutes.

    python benchmarks/time_to_target.py [--data-dir DIR] [--seeds 5] [--minutes 10] [--workers 2] [--short]

For each seed, benchmarks/plain_optuna.py searches for `--minutes` with `--workers` processes. Its best validation
accuracy is the target, and the moment at which it had it is its time. Then `caviar run mnist --seed S`, with as many
workers on the same data and split, runs until it has the target. Best is on both sides the best accuracy at any epoch
of any trial, pruned and unfinished ones too: it is read from the database ten times a second, from outside. Both
clocks start with the processes, so imports count; the start of the server counts on Caviar's side only, whose command
makes it (the plain script finds one, of the same kind, and its study).

A target that is not reached within `--minutes`, or by the end of the study, is told as such; as ratio it counts
the plain script's time over all the time that there was, which is below 1.

DIR is where Caviar keeps its data sets. Prints a table and writes benchmarks/results/time_to_target.json with
hardware, versions, seeds, n, median and spread; its short form writes time_to_target-short.json.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from machine import write
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError, ProgrammingError

from caviar.storage.embedded import serve
from caviar.studies.api.session import data_folder

CAVIAR = str(Path(sys.executable).parent / "caviar")
PLAIN = str(Path(__file__).parent / "plain_optuna.py")
LOOK_SECONDS = 0.1
TOLD_SECONDS = 5.0
# The whole contact with either side's tables.
BEST_OF_PLAIN = "SELECT max(intermediate_value) FROM public.trial_intermediate_values"
BEST_OF_CAVIAR = "SELECT max(CAST(metrics ->> 'accuracy' AS float8)) FROM caviar.epoch"
FIRST_TRIAL = "SELECT extract(epoch FROM min(datetime_start) AT TIME ZONE 'UTC')::float FROM public.trials"
OF_CAVIAR = """
    SELECT (SELECT coalesce(sum(seconds), 0) FROM caviar.epoch) AS training,
           (SELECT count(*) FROM caviar.epoch) AS epochs,
           (SELECT count(*) FROM caviar.slot WHERE state <> 'open') AS trials
"""
OF_PLAIN = """
    SELECT (SELECT count(*) FROM public.trial_intermediate_values) AS epochs,
           (SELECT count(*) FROM public.trials) AS trials
"""

silent = [].append  # what the server says is of no interest here

Curve = list[tuple[float, float]]  # seconds, and the best accuracy since then


def watch(
    engine: Engine, query: str, started: float, limit: float, target: float, ended: Callable[[], bool], who: str
) -> Curve:
    """Return how the best accuracy rose, until it is the target, the limit is over or the processes have ended."""
    best, curve, told = 0.0, [], time.monotonic()
    while True:
        over = ended()  # asked first: what was written before the end is seen
        seconds = time.monotonic() - started
        try:
            with engine.connect() as connection:
                now = connection.scalar(text(query)) or 0.0
        except (OperationalError, ProgrammingError):  # no tables yet
            now = 0.0
        if now > best:
            best = now
            curve.append((seconds, best))
        if best >= target or seconds > limit or over:
            return curve
        if time.monotonic() - told > TOLD_SECONDS and sys.stdout.isatty():
            told = time.monotonic()
            print(f"\r  {who}: {seconds:4.0f} s, best {best:.4f}   ", end="\r", flush=True)
        time.sleep(LOOK_SECONDS)


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def plain(seed: int, workers: int, seconds: float, data_dir: Path) -> dict[str, Any]:
    """Run the plain script, and return its best accuracy and when it had it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as home, serve(Path(home), silent) as url:
        address = url.render_as_string(hide_password=False)
        optuna.create_study(study_name="plain", storage=address, direction="maximize")  # two at once would crash
        started = time.monotonic()
        processes = [
            subprocess.Popen(
                [sys.executable, PLAIN, address, "--data-dir", str(data_dir), "--seed", str(1000 * seed + number),
                 "--minutes", str(seconds / 60)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for number in range(workers)
        ]  # fmt: skip
        engine = create_engine(url)
        try:
            curve = watch(engine, BEST_OF_PLAIN, started, seconds, 2.0, _ended(processes), f"plain, seed {seed}")
            with engine.connect() as connection:
                counts = connection.execute(text(OF_PLAIN)).one()._asdict()
            if time.monotonic() - started < seconds:
                raise SystemExit(f"it ended early: python {PLAIN} {address} --data-dir {data_dir}")
        finally:
            stop(processes)
            engine.dispose()
    return {"curve": curve, **counts}


def caviar(seed: int, workers: int, target: float, limit: float, data_dir: Path) -> dict[str, Any]:
    """Run Caviar until it has the target; return when, or None, and where the time went."""
    with tempfile.TemporaryDirectory() as home:
        clock, started = time.time(), time.monotonic()
        process = subprocess.Popen(
            [CAVIAR, "run", "mnist", "--workers", str(workers), "--seed", str(seed), "--data-dir", str(data_dir)],
            env={**{n: v for n, v in os.environ.items() if not n.startswith("CAVIAR_")}, "CAVIAR_HOME": home},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            # Not before the command has started its server: starting it is part of what is measured.
            while not (Path(home) / "postgres/data/postmaster.pid").exists() and process.poll() is None:
                time.sleep(LOOK_SECONDS / 10)
            if process.poll() is not None:
                raise SystemExit(f"it ended early: caviar run mnist --data-dir {data_dir}")
            with serve(Path(home), silent) as url:
                curve = _watch_caviar(url, started, limit, target, process, seed)
                seconds = time.monotonic() - started
                with create_engine(url).connect() as connection:
                    row = connection.execute(text(OF_CAVIAR)).one()._asdict()
                    begun = connection.scalar(text(FIRST_TRIAL)) - clock
                stop([process])
        finally:
            stop([process])
    reached = curve[-1][0] if curve and curve[-1][1] >= target else None
    alive = workers * seconds
    shares = {
        "start": begun * workers / alive,
        "training": row["training"] / alive,
        "rest": 1 - (begun * workers + row["training"]) / alive,
    }
    return {"curve": curve, "seconds": reached, "watched": seconds, "first_trial": begun, "shares": shares, **row}


def _watch_caviar(
    url: URL, started: float, limit: float, target: float, process: subprocess.Popen[bytes], seed: int
) -> Curve:
    engine = create_engine(url)
    try:
        return watch(engine, BEST_OF_CAVIAR, started, limit, target, _ended([process]), f"caviar, seed {seed}")
    finally:
        engine.dispose()


def _ended(processes: Sequence[subprocess.Popen[bytes]]) -> Callable[[], bool]:
    return lambda: all(process.poll() is not None for process in processes)


def measure(seed: int, workers: int, limit: float, data_dir: Path) -> dict[str, Any]:
    theirs = plain(seed, workers, limit, data_dir)
    when, target = theirs["curve"][-1]
    ours = caviar(seed, workers, target, limit, data_dir)
    ratio = when / (ours["seconds"] or limit)
    return {"seed": seed, "target": target, "plain_seconds": when, "caviar_seconds": ours["seconds"], "ratio": ratio,
            "plain": theirs, "caviar": ours}  # fmt: skip


def told(row: dict[str, Any]) -> str:
    ours, shares = row["caviar"], row["caviar"]["shares"]
    took = f"{row['caviar_seconds']:.1f}" if row["caviar_seconds"] else "not"
    return (
        f"{row['seed']:>4}  {row['target']:.4f} {row['plain_seconds']:>8.1f} {took:>8} {row['ratio']:>6.1f}   "
        f"{row['plain']['trials']:>3} / {row['plain']['epochs']:<4} {ours['trials']:>3} / {ours['epochs']:<4} "
        f"{ours['first_trial']:>9.1f} s {shares['start']:>6.0%} {shares['training']:>9.0%} {shares['rest']:>5.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=data_folder(None), help="the folder that has MNIST/raw")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0")
    parser.add_argument("--minutes", type=float, default=10, help="that the plain script has")
    parser.add_argument("--workers", type=int, default=2, help="processes of either side")
    parser.add_argument("--short", action="store_true", help="2 minutes, 2 seeds")
    options = parser.parse_args()
    if options.short:
        options.seeds, options.minutes = 2, 2
    if not (options.data_dir / "MNIST/raw").is_dir():
        print(f"left out: MNIST is not in {options.data_dir}; fetch it with: caviar data fetch mnist")
        return
    print("seconds until the target; trials / epochs begun until then; where Caviar's workers spent that time")
    print(f"{'seed':>4}  {'target':<6} {'plain':>8} {'caviar':>8} {'ratio':>6}   {'plain':<10} {'caviar':<10} "
          f"{'first trial':>11} {'start':>6} {'training':>9} {'rest':>5}", flush=True)  # fmt: skip
    rows = []
    for seed in range(options.seeds):
        rows.append(measure(seed, options.workers, 60 * options.minutes, options.data_dir))
        print(told(rows[-1]), flush=True)
    ratios = [row["ratio"] for row in rows]
    summary = {"n": len(ratios), "median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    reached = sum(row["caviar_seconds"] is not None for row in rows)
    print(f"median ratio {summary['median']:.1f} ({summary['least']:.1f} to {summary['most']:.1f}), "
          f"reached in {reached} of {len(rows)} seeds")  # fmt: skip
    write("time_to_target", options, rows=rows, ratio=summary)


if __name__ == "__main__":
    main()
