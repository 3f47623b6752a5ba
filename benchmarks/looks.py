"""What looking costs: a poll of an open dashboard, a report, and `caviar status`, of large studies.

    python benchmarks/looks.py [--sizes 1000,10000] [--short]

A poll is what an open page asks for every few seconds: what is new in a study. Beside `caviar dashboard`, Optuna's own
application over its plain storage, as its command serves it; both in processor seconds of one process. Then the whole
commands, in seconds on the clock and of the processor: `caviar report -o` of 5,000 trials of 20 epochs, and `caviar
status` of 20,000, with what its look at the database is of that. The studies are those of benchmarks/filled.py, with 10
epochs a trial where no other number is named. Prints tables and writes benchmarks/results/looks.json.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
from filled import NAME, Databases, leave_open
from machine import write
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi
from sqlalchemy.engine import URL

from caviar.storage.definitions import load_study
from caviar.storage.embedded import serve
from caviar.storage.engine import make_engine
from caviar.studies.dashboard.access import AccessControl
from caviar.studies.dashboard.server import application
from caviar.studies.lifecycle.manager import take_snapshot
from caviar.studies.results.report.page import page
from caviar.studies.results.report.reading import read_report

_REST_SECONDS = 10.5  # after which the dashboard asks its storage again
_POLLS = 3
_REPORT, _REPORT_EPOCHS, _STATUS = 5000, 20, 20_000  # trials
_LOOKS = 5


def ask(shown: Any, path: str, query: str) -> None:
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    environ["wsgi.input"] = io.BytesIO()
    answered: list[str] = []
    b"".join(shown(environ, lambda status, *_: answered.append(status)))
    assert answered == ["200 OK"], answered


def seconds(what: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = what()
    return time.process_time() - started, result


def polls(shown: Any, optuna_study_id: int, size: int) -> dict[str, float]:
    """Return what the first look costs, and a poll: the median of three."""
    path = f"/api/studies/{optuna_study_id}"
    first, _ = seconds(lambda: ask(shown, path, "after=0"))
    later = []
    for _ in range(_POLLS):
        time.sleep(_REST_SECONDS)
        later.append(seconds(lambda: ask(shown, path, f"after={size}"))[0])
    return {"first": first, "poll": statistics.median(later), "least": min(later), "most": max(later)}


def command(url: URL, *words: str) -> tuple[float, float]:
    """Return how long a command takes from its start to its end, and its processor seconds."""
    environ = {**os.environ, "CAVIAR_DATABASE_URL": url.render_as_string(hide_password=False)}
    started, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "caviar", *words], env=environ, stdout=subprocess.DEVNULL, check=True)
    took, after = time.perf_counter() - started, os.times()
    of_children = after.children_user - before.children_user + after.children_system - before.children_system
    return took, of_children


def reported(databases: Databases, folder: Path, size: int) -> dict[str, float]:
    with databases.copy("caviar", size, _REPORT_EPOCHS) as url:
        leave_open(url, size, 10)
        file = folder / "report.html"
        took, processor = command(url, "report", NAME, "-o", str(file))
        found = {"size": size, "epochs": _REPORT_EPOCHS, "seconds": took, "processor": processor,
                 "bytes": file.stat().st_size}  # fmt: skip
    print(f"caviar report -o, {size:,} trials of {_REPORT_EPOCHS} epochs: {took:.1f} s "
          f"({processor:.1f} s of the processor), {found['bytes'] / 2**20:.1f} MB", flush=True)  # fmt: skip
    return found


def told(databases: Databases, size: int) -> dict[str, float]:
    with databases.copy("caviar", size) as url:
        leave_open(url, size, 10)
        engine = make_engine(url)
        record = load_study(engine, NAME)
        looks = []
        for _ in range(_LOOKS):
            started = time.perf_counter()
            take_snapshot(engine, record)
            looks.append(time.perf_counter() - started)
        engine.dispose()
        commands = [command(url, "status", NAME) for _ in range(_LOOKS)]
    took, processor = zip(*commands, strict=True)
    found = {"size": size, "look": statistics.median(looks), "seconds": statistics.median(took), "least": min(took),
             "most": max(took), "processor": statistics.median(processor)}  # fmt: skip
    print(f"caviar status, {size:,} trials: {found['seconds']:.2f} s ({found['least']:.2f} to {found['most']:.2f}), "
          f"{found['processor']:.2f} s of the processor; its look {found['look']:.3f} s", flush=True)  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000", help="finished trials")
    parser.add_argument("--short", action="store_true", help="1,000 alone")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = []
    print(f"{'trials':>7}  {'dashboard':<10} first look   a poll   (least to most)     report   its page", flush=True)
    with tempfile.TemporaryDirectory() as home, serve(Path(home) / "server", [].append) as server:
        databases = Databases(server)
        for size in [1000] if options.short else map(int, options.sizes.split(",")):
            with databases.copy("caviar", size) as url:
                leave_open(url, size, 10)
                engine = make_engine(url)
                record = load_study(engine, NAME)
                plain = RDBStorage(url.render_as_string(hide_password=False), skip_table_creation=True)
                access = AccessControl(application(engine), None, changes=False, is_ours=lambda _: True)
                took, text = seconds(lambda record=record, engine=engine: page(read_report(engine, record)))
                for name, shown in (("caviar", access), ("optuna", wsgi(plain))):
                    cost = polls(shown, record.optuna_study_id, size)
                    report = f"{took:>7.1f} s {len(text) / 2**20:>7.1f} MB" if name == "caviar" else ""
                    print(f"{size:>7,}  {name:<10} {cost['first']:>8.2f} s {cost['poll']:>7.3f} s "
                          f"({cost['least']:.3f} to {cost['most']:.3f}) {report}", flush=True)  # fmt: skip
                    rows.append({"size": size, "dashboard": name, **cost})
                rows.append({"size": size, "report_seconds": took, "page_bytes": len(text)})
                engine.dispose()
        report = reported(databases, Path(home), 1000 if options.short else _REPORT)
        status = told(databases, 1000 if options.short else _STATUS)
    write("looks", options, n=_POLLS, rows=rows, report=report, status=status)


if __name__ == "__main__":
    main()
