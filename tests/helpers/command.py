"""The command `caviar` as a process of its own, and what it leaves in the database."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.status import read_trials
from tests.helpers.epochs import figures
from tests.helpers.studies import small_study, write_study

# Each trial depends on its slot alone, so its curve must be the same whatever happened to its worker.
INDEPENDENT: dict[str, Any] = {"epochs": 12, "strategy": "random", "pruner": "none"}


class Caviar:
    """The command, run against one database.

    Args:
        command: The command's own words.
        url: The database's address; None for the built-in server.
        folder: The working directory, which also holds the command's home.
    """

    def __init__(self, command: list[str], url: URL | None, folder: Path) -> None:
        self.url, self._command, self.folder = url, command, folder
        self.environ = {**os.environ, "CAVIAR_HOME": str(folder / "home")}
        if url is not None:
            self.environ["CAVIAR_DATABASE_URL"] = url.render_as_string(hide_password=False).replace("+psycopg2", "")

    def study(self, epochs: int = 2, strategy: str = "classic", pruner: str = "median") -> str:
        """Write the definition of `mine`, a study of 40 trials, and return its path."""
        study = small_study(name="mine", epochs=epochs, budget=40, strategy=strategy, pruner=pruner)
        return write_study(self.folder / "mine.py", study)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *arguments], env=self.environ, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == code, said
        return said


def count_everything(engine: Engine, budget: int = 40, epochs: int = 2) -> list[list[tuple[float, ...]]]:
    """Check that every row is there exactly once, and return all curves."""
    record = load_study(engine, "mine")
    trials = read_trials(engine, record.study_id)
    assert [t.slot.number for t in trials] == list(range(budget))
    assert all(t.state in ("complete", "pruned", "fail") for t in trials)
    curves = [read_curve(engine, record.study_id, t.slot.number) for t in trials]
    for trial, curve in zip(trials, curves, strict=True):
        assert [e.epoch for e in curve] == list(range(1, trial.epoch + 1))
        assert trial.state != "complete" or trial.epoch == epochs
    with engine.connect() as connection:
        numbers = connection.scalars(text("SELECT number FROM public.trials ORDER BY number")).all()
        assert numbers == list(range(budget))
        steps = connection.scalar(text("SELECT count(*) FROM public.trial_intermediate_values"))
        assert steps == sum(len(c) for c in curves)
        assert connection.scalar(text("SELECT count(*) FROM caviar.slot WHERE state <> 'done'")) == 0
    return [figures(c) for c in curves]


def rows(engine: Engine, query: str) -> Any:
    """Return the first value that a query gives; 0 where there are no tables yet."""
    try:
        with engine.connect() as connection:
            return connection.scalar(text(query))
    except Exception:  # noqa: BLE001 - the tables are not there yet
        return 0


def until(condition: Callable[[], Any], seconds: float = 180) -> None:
    """Wait until a condition holds; `seconds` only ends a wait for what never comes, on a machine however busy."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
