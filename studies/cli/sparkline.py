"""Draw curves in one line of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-~=+*#"
WIDTH = 40  # columns


def sparkline(
    values: Sequence[float], low: float, high: float, blocks: str, *, width: int = WIDTH, planned: int = 0
) -> str:
    """Return a curve as a line of blocks, the lowest first; of a long one every second, third, ... value, and the last.

    `planned` is the number of values in the end, so that epochs of unfinished curves stand below one another.
    """
    step = -(-(max(len(values), planned) - 1) // (width - 1)) or 1
    shown = [*values[:-1:step], *values[-1:]]
    extent = (high - low) or 1.0
    return "".join(blocks[min(max(int((v - low) / extent * len(blocks)), 0), len(blocks) - 1)] for v in shown)


def ends(curves: Iterable[Sequence[float]], *, maximize: bool) -> tuple[float, float]:
    """Return the range from the median to the best of all values: the last epochs are what is to be compared."""
    values = sorted(value for curve in curves for value in curve) or [0.0]
    half = len(values) // 2
    return (values[half], values[-1]) if maximize else (values[0], values[-1 - half])
