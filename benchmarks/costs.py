"""The measured costs of statements, as benchmarks/scale.py needs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Costs:
    """Milliseconds by call and number of finished trials.

    Attributes:
        core: of the server's cores. commit: of waiting for the disk. client: in the worker, choosing included.
        look: of the server for one look at the running trials, (fixed, for each of them); client_look in the worker.
        each_more: share of a core's time for an epoch that each further trial of a cohort adds.
    """

    core: dict[str, dict[int, float]]
    commit: dict[str, dict[int, float]]
    client: dict[str, dict[int, float]]
    look: tuple[float, float]
    client_look: tuple[float, float]
    each_more: float
    source: str


def read_costs() -> Costs:
    """Return the measured costs."""
    path = Path(__file__).parent / "results" / "storage_cost.json"
    if not path.exists():
        return MEASURED
    document = json.loads(path.read_text())
    found: dict[str, dict[str, dict[int, float]]] = {"core": {}, "commit": {}, "client": {}}
    for row in document["rows"]:
        for name, call in row["calls"].items() if row["side"] == "caviar" else ():
            shares = {"core": call["statements_ms"], "commit": call["commit_ms"]}
            shares["client"] = call["ms"] - sum(shares.values())
            for share, value in shares.items():
                found[share].setdefault(name, {})[row["size"]] = value
    first, last = document["looks"][0], document["looks"][-1]

    def line(what: Callable[[dict[str, float]], float]) -> tuple[float, float]:
        each = (what(last) - what(first)) / (last["running"] - first["running"])
        return what(first) - each * first["running"], each

    looks = line(lambda look: look["server_ms"]), line(lambda look: look["ms"] - look["server_ms"])
    one, *_, many = (cohort["statements_ms"] for cohort in document["cohorts"])
    each_more = (many / one - 1) / (document["cohorts"][-1]["members"] - 1)
    source = "benchmarks/results/storage_cost.json"
    return Costs(**found, look=looks[0], client_look=looks[1], each_more=each_more, source=source)


# A short run of benchmarks/storage_cost.py on 2 busy cores (AMD EPYC), PostgreSQL 18 on the same machine.
MEASURED = Costs(
    core={
        "lease": {100: 1.1, 5000: 4.6, 20000: 8.8},
        "begin": {100: 2.6, 20000: 7.1},
        "record": {100: 0.7, 20000: 0.8},
        "finish": {100: 3.7, 20000: 13.7},
    },
    commit={name: {100: 3.0} for name in ("lease", "begin", "record", "finish")},
    client={
        "lease": {100: 2.0},
        "propose": {100: 500.0, 20000: 760.0},
        "begin": {100: 6.5},
        "record": {100: 0.7},
        "finish": {100: 1.5},
    },
    look=(0.4, 0.038),
    client_look=(0.5, 0.05),
    each_more=0.2,
    source="the constants in benchmarks/costs.py",
)


def at(costs: dict[int, float], finished: int) -> float:
    """Return seconds between and beyond measured sizes, on straight lines; never less than at the smallest."""
    sizes = sorted(costs)
    if len(sizes) == 1:
        return costs[sizes[0]] / 1000
    upper = min(max(1, sum(size < finished for size in sizes)), len(sizes) - 1)
    low, high = sizes[upper - 1], sizes[upper]
    share = max(0.0, (finished - low) / (high - low))
    return max(costs[low] + share * (costs[high] - costs[low]), min(costs.values())) / 1000
