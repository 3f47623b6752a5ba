"""Colours and axes that the figures of a report share.

Each tier has one colour in every figure. They can be told apart by colour-blind people (Okabe and Ito,
https://jfly.uni-koeln.de/color), and have a contrast of 3:1 or more with the page, be it light or dark: orange and
purple are darker than theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TIER_COLOURS = ("#0072B2", "#BC7F00", "#009E73", "#C56C9C")
WINNER, FADED = "#D55E00", 0.75
NEUTRAL = "#7d8590"  # for what is of no tier
BAND = "rgba(125,133,144,0.22)"
# Of a complete trial, a pruned one, and one beyond the picture's edge.
SYMBOLS = ("circle", "triangle-down-open", "line-ns")
_FEW = 10


def colour(tier: int) -> str:
    """Return the colour of a tier."""
    return TIER_COLOURS[(tier - 1) % len(TIER_COLOURS)]


def good_range(values: Sequence[float], *, maximize: bool) -> dict[str, Any]:
    """Return an axis' range without the worst tenth of the values, beside which good ones could not be told apart.

    A double click shows all of them.
    """
    if len(values) < _FEW:
        return {}
    ordered = sorted(values, reverse=not maximize)  # the worst one first
    worst, best = ordered[len(ordered) // 10], ordered[-1]
    pad = 0.05 * (best - worst)
    return {"range": sorted([worst - pad, best + pad])} if worst != best else {}
