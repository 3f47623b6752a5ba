"""The range of values that a picture shows: where the good trials are.

Most trials of a search are pruned early, at values far below the others. On an axis that shows them all, those that
matter are one row of points. So the axis ends at a floor, and the trials beyond it are ticks at its edge.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from caviar.storage.states import TrialState
from caviar.studies.results.report.records import Report

_LEAST = 4  # complete trials that have a quartile
_REACH = 4.0  # times from the best value to the median complete one, at most: or the better half would be one row
_MORE = 3.0  # times that far, at most, to have half of all trials in the picture
# Parts of the range: above the best value, below the floor, and from the floor to the ticks.
_ABOVE, _BELOW, _EDGE = 0.06, 0.12, 0.06


@dataclass(frozen=True)
class Window:
    """The values from the best one to the floor, which is the larger of both where lower values are better."""

    best: float
    floor: float

    def shows(self, value: float) -> bool:
        """Whether a value is inside."""
        return abs(value - self.best) <= abs(self.floor - self.best) or (value > self.best) == (self.best > self.floor)

    @property
    def edge(self) -> float:
        """Where the ticks of trials beyond the floor stand."""
        return self.floor + (self.floor - self.best) * _EDGE

    @property
    def axis(self) -> dict[str, Any]:
        """The fields of plotly's axis that make it show these values; it chooses itself where all are equal."""
        height = self.best - self.floor
        return {"range": sorted([self.best + _ABOVE * height, self.floor - _BELOW * height])} if height else {}

    @property
    def words(self) -> str:
        """Where the trials lie that it doesn't show."""
        return f"{'below' if self.best > self.floor else 'above'} {self.floor:.4g}"


def window(report: Report) -> Window | None:
    """Return the window of a study's values; None if no trial has one.

    The floor is the lower quartile of the complete trials, or nearer to the best value where the better half of them
    would otherwise be one row. If it leaves out more than half of all trials, it is lower, but not by much.
    """
    sound = [t for t in report.trials if t.is_sound]
    if not sound:
        return None
    sign = 1 if report.study.maximize else -1  # so that higher is better below
    every = sorted((sign * (t.value or 0.0) for t in sound), reverse=True)
    complete = sorted((sign * (t.value or 0.0) for t in sound if t.state == TrialState.COMPLETE), reverse=True)
    best, floor = every[0], every[-1]
    if len(set(complete)) >= _LEAST:
        floor = complete[3 * (len(complete) - 1) // 4]
        if reach := _REACH * (best - statistics.median(complete)):
            floor = max(floor, best - reach)
        floor = max(min(floor, statistics.median(every)), best - _MORE * (best - floor))
    return Window(sign * best, sign * floor)
