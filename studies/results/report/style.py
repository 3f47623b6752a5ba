"""What a report's figures have in common: colours, and how an axis is cut.

Colours are of the tiers, the same in every figure; they can be told apart by colour-blind people (Okabe and Ito,
https://jfly.uni-koeln.de/color).
"""

from __future__ import annotations

from collections.abc import Sequence

from caviar.studies.results.report.answers import Facts

TIER_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
WINNER, FADED = "#D55E00", 0.25
_FEW = 10


def colour(tier: int) -> str:
    """Return the colour of a tier."""
    return TIER_COLOURS[(tier - 1) % len(TIER_COLOURS)]


def value_title(facts: Facts) -> str:
    """Return what a trial's value is."""
    return f"validation {facts['study']['metric']}"


def good_range(facts: Facts, values: Sequence[float]) -> Facts:
    """Return an axis' range that leaves the worst tenth of values out: good ones could not be told apart beside them. A
    double click shows all."""
    if len(values) < _FEW:
        return {}
    ordered = sorted(values, reverse=facts["study"]["direction"] == "minimize")  # the worst one first
    worst, best = ordered[len(ordered) // 10], ordered[-1]
    pad = 0.05 * (best - worst)
    return {"range": sorted([worst - pad, best + pad])} if worst != best else {}
