"""One search of a table: one trial after the other, or several workers at once on a simulated clock."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field

import numpy as np
import optuna
from methods import begin
from optuna.trial import FrozenTrial
from tables import Table

from caviar.studies.definition import Study
from caviar.studies.search.surrogate import one_thread


@dataclass
class Run:
    """What a search did.

    Attributes:
        rows: of the table, of each trial, in the order in which they ended.
        losses: that were observed there.
        proposal_seconds: of processor time, of each proposal.
    """

    rows: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    proposal_seconds: list[float] = field(default_factory=list)


def search(table: Table, method: str, seed: int, trials: int, workers: int = 1, definition: Study | None = None) -> Run:
    """Search a table with a method; with several workers, a trial takes as long as the table says.

    Args:
        definition: what is searched, if it is not the table's own study.
    """
    definition = definition or table.study(trials, seed)
    distributions = definition.distributions()
    study = begin(method, definition)
    run, rng = Run(), np.random.default_rng(seed)  # which of a configuration's trainings is seen
    ends: list[tuple[float, int]] = []
    running: dict[int, tuple[optuna.Trial, int, int]] = {}
    clock = 0.0
    with one_thread():
        while len(run.rows) < trials:
            while len(running) < workers and len(run.rows) + len(running) < trials:
                started = time.process_time()
                trial = study.ask(distributions)
                run.proposal_seconds.append(time.process_time() - started)
                row = table.place(definition.trained(trial.params))
                training = int(rng.integers(table.losses.shape[1]))
                running[trial.number] = trial, row, training
                heapq.heappush(ends, (clock + table.seconds[row, training], trial.number))
            clock, number = heapq.heappop(ends)
            trial, row, training = running.pop(number)
            loss = float(table.losses[row, training])
            study.tell(trial, loss)
            run.rows.append(row)
            run.losses.append(loss)
    return run


def regret_after(table: Table, run: Run, trials: int) -> float:
    """Return the regret of the configuration with the best observed loss: its true mean counts, not the lucky value."""
    return table.regret(run.rows[int(np.argmin(run.losses[:trials]))])


def trials_of(table: Table, definition: Study, run: Run, count: int) -> list[FrozenTrial]:
    """Return the first trials of a run as Optuna has them."""
    found = []
    for number, (row, loss) in enumerate(zip(run.rows[:count], run.losses[:count], strict=True)):
        values = table.values(row)
        stored = {scale.stored_name(n): scale.to_stored(values[n]) for n, scale in definition.scales().items()}
        trial = optuna.trial.create_trial(value=loss, params=stored, distributions=definition.distributions())
        trial.number = number
        found.append(trial)
    return found
