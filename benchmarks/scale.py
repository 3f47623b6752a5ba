"""How many workers one PostgreSQL carries: a simulation with the measured costs of the statements.

    python benchmarks/scale.py [--cores 8] [--seed 0] [--check]

Workers take slots, choose values, begin trials, write 10 epochs each and end them, against a server of so many cores
that serves transactions in the order of their arrival. A transaction takes a core for the time that its statements
were measured to take (benchmarks/results/storage_cost.json; drawn from an exponential distribution with that mean), its
commit, during which no core works, and a round trip of 0.5 ms for each statement. As in the real thing:

- trials begin one by one: the study's row is locked from the first statement to the commit (storage/trials.py);
- after an epoch a worker looks which of those that run have ended, if its last look is 0.01 s ago for each;
- the costs of leasing and of choosing grow with the finished trials: each worker has made ten already;
- leases are renewed every 15 s, on a connection of their own;
- one worker more for every ten finds no open slot, and looks again after 0.5 s, later after 10 s.

The costs were measured with one process on an idle machine. What real workers cost the server through PgBouncer is in
benchmarks/results/many_workers.json: the same number of workers is simulated, and all costs are multiplied by how much
more a trial took of the server's processors there. That holds the looks of the commands at the study, too.

Left out: the once-only start of workers, checkpoints, and that a worker trains
on if a write takes longer than a second: here it waits, which is the worse case. Prints tables and writes
benchmarks/results/scale.json. `--check` compares the simulated queue with the formula for M/M/c (Erlang C) instead.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from costs import Costs, at, read_costs
from machine import RESULTS, write
from queueing import Simulation, Transaction, check

EPOCHS = 10
ROUND_TRIP = 0.0005  # seconds, in one network
RENEW, FIRST_WAIT, LONGEST_WAIT = 15.0, 0.5, 10.0  # seconds; studies/workers/local/options.py and worker.py
LOOK, LOOK_EACH = 0.25, 0.01  # seconds between two looks, at least, and for each running trial; trainer.py
FINISHED = 10  # trials for each worker, when the simulation begins
WAITING = 0.1  # workers without a slot, for each that has one
# Statements, with BEGIN and COMMIT; lease and refresh as tests/studies/workers/test_worker.py counts them.
STATEMENTS = {"lease": 4, "refresh": 2, "begin": 4, "record": 3, "finish": 7, "renew": 3}
REMEDIES: dict[str, dict[str, int]] = {
    "as above": {},
    "cohorts of 16": {"cohort": 16},
    "a look at the others once in a trial": {"every": EPOCHS},
    "in a new study, without finished trials": {"finished_each": 0},
    "the last three": {"cohort": 16, "every": EPOCHS, "finished_each": 0},
}


@dataclass
class WorkerPool:
    """Workers that train `trials` at once, `cohort` of them each, and what becomes of them.

    Attributes:
        every: epochs between two looks at the running trials.
        finished_each: finished trials for each that runs, when the simulation begins.
    """

    simulation: Simulation
    costs: Costs
    trials: int
    trial_seconds: float
    cohort: int = 1
    every: int = 1
    finished_each: int = FINISHED
    epochs: int = EPOCHS
    latencies: list[float] = field(default_factory=list)
    lost: float = 0.0  # worker seconds
    trained: float = 0.0
    finished: int = 0

    def __post_init__(self) -> None:
        self.finished = self.finished_each * self.trials
        self.workers = math.ceil(self.trials / self.cohort)
        self.waiting = math.ceil(WAITING * self.workers)
        draw = self.simulation.random
        for _ in range(self.workers):
            self.simulation.start(
                self._work(draw.randrange(self.epochs)), draw.uniform(0, self.trial_seconds / self.epochs)
            )
            self.simulation.start(self._renew(), draw.uniform(0, RENEW))
        for _ in range(self.waiting):
            self.simulation.start(self._wait(), draw.uniform(0, LONGEST_WAIT))

    def _transaction(self, name: str) -> Transaction:
        measured = "record" if name == "renew" else name
        core, rest = (at(costs[measured], self.finished) for costs in (self.costs.core, self.costs.commit))
        if name == "record":  # one for the whole cohort; trials begin and end one by one
            core *= 1 + self.costs.each_more * (self.cohort - 1)
        return Transaction(core, rest + STATEMENTS[name] * ROUND_TRIP, name == "begin", name)

    def _client(self, name: str) -> float:
        return at(self.costs.client[name], self.finished)

    def _look(self) -> Iterator[Any]:
        """Look at all running trials."""
        core, client = (
            (fixed + each * self.trials) / 1000 for fixed, each in (self.costs.look, self.costs.client_look)
        )
        yield Transaction(core, STATEMENTS["refresh"] * ROUND_TRIP, name="look")
        yield client

    def _work(self, epoch: int) -> Iterator[Any]:
        simulation, seconds = self.simulation, self.trial_seconds / self.epochs
        since = None  # when training stopped
        looked, pause = simulation.now, max(LOOK, LOOK_EACH * self.trials)
        while True:
            for number in range(epoch, self.epochs):
                if since is not None:
                    self.lost += simulation.now - since
                yield seconds
                since = simulation.now
                self.trained += seconds
                yield self._transaction("record")
                self.latencies.append(simulation.now - since)
                yield self._client("record")
                if number % self.every == 0 and simulation.now - looked >= pause:
                    looked = simulation.now
                    yield from self._look()
            epoch = 0
            for _ in range(self.cohort):
                yield self._transaction("finish")
                yield self._client("finish")
            self.finished += self.cohort
            yield self._transaction("lease")
            for _ in range(self.cohort):
                looked = simulation.now
                yield from self._look()
                yield self._client("propose") + self._client("begin")
                yield self._transaction("begin")

    def _renew(self) -> Iterator[Any]:
        while True:
            yield RENEW
            yield self._transaction("renew")

    def _wait(self) -> Iterator[Any]:
        pause = FIRST_WAIT
        while True:
            yield self._transaction("lease")
            yield self._transaction("lease")  # of the same kind: how does the study stand?
            yield pause
            pause = min(LONGEST_WAIT, 1.5 * pause)


def measure(costs: Costs, cores: int, seed: int, trials: int, minutes: float, **how: int) -> dict[str, Any]:
    """Simulate two epochs of every worker, after one on the way to a steady state; more of them for a small fleet."""
    simulation = Simulation(cores, seed)
    fleet = WorkerPool(simulation, costs, trials, 60 * minutes, **how)
    epochs = max(2000, fleet.workers)
    simulation.run(lambda: len(fleet.latencies) >= epochs)
    begun, held, lost, trained = simulation.now, simulation.held, fleet.lost, fleet.trained
    simulation.busy.clear()
    fleet.latencies.clear()
    simulation.most_active = simulation.active
    simulation.run(lambda: len(fleet.latencies) >= 2 * epochs)
    span = simulation.now - begun
    cuts = statistics.quantiles(fleet.latencies, n=100)
    gone, done = fleet.lost - lost, fleet.trained - trained
    busy = {name: seconds / span / cores for name, seconds in simulation.busy.most_common()}
    return {
        "trials_at_once": trials, "minutes": minutes, **how, "workers": fleet.workers,
        "server": min(1.0, sum(busy.values())), "server_by_call": busy,
        "row_lock": min(1.0, (simulation.held - held) / span),
        "epoch_ms_median": 1000 * cuts[49], "epoch_ms_99": 1000 * cuts[98], "lost": gone / (gone + done),
        # Each process keeps one connection open, and has a second one for its renewals.
        "connections": fleet.workers + fleet.waiting, "connections_most": 2 * (fleet.workers + fleet.waiting),
        "transactions_at_once": simulation.most_active,
    }  # fmt: skip


def calibrate(costs: Costs, seed: int, cores: int = 2) -> tuple[Costs, dict[str, float]]:
    """Return the costs of real workers through PgBouncer, and what was measured and simulated for as many of them."""
    document = json.loads((RESULTS / "many_workers.json").read_text())
    options, epochs = document["options"], round(document["rows"]["epochs"] / document["options"]["trials"])
    seconds = options["seconds"] * epochs
    simulation = Simulation(cores, seed)
    fleet = WorkerPool(simulation, costs, options["workers"], seconds, epochs=epochs, finished_each=0)
    simulation.run(lambda: fleet.finished >= options["trials"])
    simulated = 1000 * sum(simulation.busy.values()) / fleet.finished
    measured = document["processor_ms_of_a_trial"]["server"]
    factor = measured / simulated
    core = {name: {size: factor * ms for size, ms in sizes.items()} for name, sizes in costs.core.items()}
    of_epochs = statistics.quantiles(fleet.latencies, n=100)
    scaled = replace(costs, core=core, look=(factor * costs.look[0], factor * costs.look[1]))
    return scaled, {
        "workers": options["workers"], "factor": factor,
        "server_ms_of_a_trial": measured, "simulated_ms_of_a_trial": simulated,
        "simulated_epoch_ms_median": 1000 * of_epochs[49], "simulated_epoch_ms_99": 1000 * of_epochs[98],
    }  # fmt: skip


def limit(row: dict[str, Any]) -> str:
    """Say what holds this fleet back, if anything does."""
    full = []
    if row["server"] > 0.8:
        name, share = next(iter(row["server_by_call"].items()))
        full.append(f"the server's cores ({share:.0%} by {name})")
    if row["row_lock"] > 0.8:
        full.append("the study's row")
    if full:
        return ", ".join(full)
    if row["lost"] > 0.1:
        return "choosing, in the workers"
    return "none"


def told(row: dict[str, Any]) -> str:
    fits = "100" if row["connections_most"] < 100 else "1,000" if row["connections_most"] < 1000 else "PgBouncer"
    return (f"{row['workers']:>8,} {row['minutes']:>8g} {row['server']:>7.0%} {row['row_lock']:>9.0%} "
            f"{row['epoch_ms_median']:>11,.0f} {row['epoch_ms_99']:>9,.0f} {row['lost']:>6.1%} "
            f"{row['connections']:>12,} {row['transactions_at_once']:>8,}  {fits:<10} {limit(row)}")  # fmt: skip


HEAD = (
    f"{'workers':>8} {'minutes':>8} {'server':>7} {'row lock':>9} {'epoch: ms':>11} {'99 %':>9} {'lost':>6} "
    f"{'connections':>12} {'at once':>8}  {'fits into':<10} limit"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=8, help="of the server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="compare the queue with the formula for M/M/c")
    parser.add_argument("--short", action="store_true", help="up to 1,000 workers")
    options = parser.parse_args()
    if options.check:
        for utilisation in (0.5, 0.8, 0.95):
            simulated, formula = check(options.cores, utilisation)
            print(f"M/M/{options.cores} at {utilisation:.0%}: mean wait {statistics.mean(simulated):.4f} service times "
                  f"({min(simulated):.4f} to {max(simulated):.4f}), by formula {formula:.4f}", flush=True)  # fmt: skip
        return
    costs, calibration = calibrate(read_costs(), options.seed)
    took, times = calibration["server_ms_of_a_trial"], calibration["factor"]
    print(
        f"as measured with {calibration['workers']} real workers: a trial takes {took:.0f} ms of the server's "
        f"processors, {times:.1f} times as much as simulated", flush=True,
    )  # fmt: skip
    print(f"{options.cores} cores, trials of {EPOCHS} epochs; costs of storage_cost.json\n{HEAD}", flush=True)
    rows = []
    for trials in (10, 100, 1000) if options.short else (10, 100, 1000, 10_000):
        for minutes in (1, 10, 60):
            rows.append(measure(costs, options.cores, options.seed, trials, minutes))
            print(told(rows[-1]), flush=True)
    remedies = []
    for trials, minutes in ((1000, 1),) if options.short else ((1000, 1), (10_000, 10)):
        print(f"\nwhat helps, at {trials:,} trials of {minutes} min\n{HEAD}", flush=True)
        for what, how in REMEDIES.items():
            remedies.append({"what": what, **measure(costs, options.cores, options.seed, trials, minutes, **how)})
            print(f"{told(remedies[-1])}; {what}", flush=True)
    write("scale", options, calibration=calibration, costs=vars(costs), rows=rows, remedies=remedies)


if __name__ == "__main__":
    main()
