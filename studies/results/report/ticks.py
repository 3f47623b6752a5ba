"""Ticks for an axis of a hyperparameter that is drawn on the unit interval of its own scale.

Every tick is a value that a trial can have: a number of a grid, a power of two, 0 of a decay that may be 0. On a scale
without steps they are round numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from caviar.studies.space.base import BaseScale, Value

_MOST, _FEW = 7, 4  # of an axis, so that they don't overlap on a phone
_LONGEST = 14  # characters of a name
_NAMES = 12  # that are all shown

Tick = tuple[float, str]  # the place on the unit interval, and what stands there


def ticks(scale: BaseScale) -> list[Tick]:
    """Return the ticks of a scale, by their places."""
    if scale.value(0.0) == scale.value(1.0):
        return [_tick(scale, scale.value(0.0))]
    if 0 < scale.bins <= (_NAMES if scale.unordered else _MOST):
        return [_tick(scale, scale.value((place + 0.5) / scale.bins)) for place in range(scale.bins)]
    found = [] if scale.unordered else [value for value in _round(scale) if scale.accepts(value)]
    if scale.gap:
        found.append(0.0)
    if len(found) < 3:
        count = scale.bins or _MOST
        found = [scale.value((place + 0.5) / count) for place in range(0, count, -(-count // _MOST))]
    return sorted({_tick(scale, value) for value in found})


def in_words(value: Value) -> str:
    """Return a value as a person writes it: 0.0001, not 100µ.

    Example:
        >>> in_words(0.0001), in_words(0.0), in_words(64), in_words(0.00001)
        ('0.0001', '0', '64', '1e-5')
    """
    if not isinstance(value, float):
        text = str(value)
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    mantissa, _, exponent = f"{value:.4g}".partition("e")
    if not exponent:
        return mantissa
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e6 else f"{mantissa}e{int(exponent)}"


def round_numbers(low: float, high: float, most: int = _MOST) -> list[float]:
    """Return round numbers in a range, equally far apart: multiples of 1, 2 or 5 times a power of ten.

    Example:
        >>> round_numbers(50, 100), round_numbers(0.0, 0.5)
        ([50.0, 60.0, 70.0, 80.0, 90.0, 100.0], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    """
    decade = math.floor(math.log10((high - low) / most))
    for mantissa, power in ((1, decade), (2, decade), (5, decade), (1, decade + 1), (2, decade + 1)):
        step = mantissa * 10.0**power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [float(f"{place * step:.10g}") for place in range(first, last + 1)]


def _round(scale: BaseScale) -> Iterable[Value]:
    """Return round values of a scale of numbers; some may not be on it."""
    low, high = sorted(float(scale.on_axis(scale.value(end))) for end in (0.0, 1.0))
    found = _on_log(low, high) if scale.axis("").kind == "log" else round_numbers(low, high)
    whole = isinstance(scale.value(0.0), int)
    return [scale.from_stored(int(place) if whole else place) for place in found if not whole or place == int(place)]


def _on_log(low: float, high: float) -> list[float]:
    """Return round numbers of a log axis: powers of ten, and some between them where these are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for mantissas in ((1,), (1, 3), (1, 2, 5)):
        numbers = [float(f"{m}e{power}") for power in range(first, last + 1) for m in mantissas]
        inside = [number for number in numbers if low * (1 - 1e-9) <= number <= high * (1 + 1e-9)]
        if len(inside) >= _FEW:
            return inside[:: -(-len(inside) // _MOST)]
    return round_numbers(low, high)


def _tick(scale: BaseScale, value: Value) -> Tick:
    return round(scale.unit(value), 6), in_words(value)
