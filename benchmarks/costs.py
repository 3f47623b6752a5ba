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


def read_costs() -> Costs:
    """Return the measured costs."""
    path = Path(__file__).parent / "results" / "storage_cost.json"
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
    return Costs(**found, look=looks[0], client_look=looks[1], each_more=each_more)


def at(costs: dict[int, float], finished: int) -> float:
    """Return seconds between and beyond measured sizes, on straight lines; never less than at the smallest."""
    sizes = sorted(costs)
    if len(sizes) == 1:
        return costs[sizes[0]] / 1000
    upper = min(max(1, sum(size < finished for size in sizes)), len(sizes) - 1)
    low, high = sizes[upper - 1], sizes[upper]
    share = max(0.0, (finished - low) / (high - low))
    return max(costs[low] + share * (costs[high] - costs[low]), min(costs.values())) / 1000
