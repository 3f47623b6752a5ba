"""Scales of numbers on a log axis: the learning rate α on its own, momentum β on that of 1 - β.

Source of ranges and formulas: Andrew Ng, Improving Deep Neural Networks, week 3, "Using an appropriate scale".
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Self

from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import Axis, BaseScale, Value, on_log, place_on_log, within
from caviar.studies.space.ranges import RangedScale

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_DECADE = 10


class _LogScale(RangedScale):
    """A range of numbers whose stored form is drawn and searched on a log axis."""

    def __init__(self, low: float, high: float, *, default: float, **fields: Any) -> None:
        super().__init__(low, high, default=default, **fields)

    @property
    @abstractmethod
    def _stored_range(self) -> tuple[float, float]:
        """The smallest and the largest stored form."""

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(*self._stored_range, log=True)

    def on_axis(self, value: Value) -> Value:
        return self.to_stored(value)


class Log(_LogScale):
    """A positive number on a log axis: 10 to the power of U(log10 low, log10 high). For the learning rate α.

    Example:
        >>> Log(1e-4, 1, default=0.1).value(0.25)  # a quarter of the way from 0.0001 to 1
        0.001

    Args:
        low: the smallest value, above 0.
        high: the largest value.
        default: the value that a search begins with.
        or_zero: allow exactly 0, too, as for a learning-rate decay. 0 has no place on a log axis: it gets the decade
            below `low`, and is stored as low / 10.
    """

    kind: Literal["log"] = "log"
    or_zero: bool = False

    def __init__(self, low: float, high: float, *, default: float, or_zero: bool = False, **fields: Any) -> None:
        super().__init__(low, high, default=default, or_zero=or_zero, **fields)

    def model_post_init(self, context: Any) -> None:
        if self.low <= 0:
            raise DefinitionError(f"a log scale must start above 0; given {self.low:g} to {self.high:g}")
        super().model_post_init(context)

    def _accepts_default(self) -> bool:
        return (self.or_zero and self.default == 0) or super()._accepts_default()

    @property
    def _stored_range(self) -> tuple[float, float]:
        return self.low / _DECADE if self.or_zero else self.low, self.high

    @property
    def gap(self) -> float:
        return self.unit(self.low) if self.or_zero else 0.0

    def value(self, unit: float) -> float:
        return self.from_stored(on_log(unit, *self._stored_range))

    def unit(self, value: Value) -> float:
        return place_on_log(self.to_stored(value), *self._stored_range)

    def stored_name(self, name: str) -> str:
        return f"{name}_or_floor" if self.or_zero else name

    @property
    def stored_as(self) -> str:
        return f"where {self._stored_range[0]:g} stands for 0" if self.or_zero else ""

    def to_stored(self, value: Value) -> float:
        return float(value) or self._stored_range[0]

    def from_stored(self, stored: Any) -> float:
        return 0.0 if stored < self.low else float(stored)

    def contains(self, other: BaseScale) -> bool:
        return super().contains(other) and isinstance(other, Log) and self.or_zero >= other.or_zero

    def widened(self) -> Self:
        """Return the scale with one decade more on each side."""
        return self._with_range(self.low / _DECADE, self.high * _DECADE)

    def axis(self, name: str) -> Axis:
        return Axis(f"{name} (log scale)", "log")

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}{' or 0' if self.or_zero else ''}, log"


class LogOneMinus(_LogScale):
    """A rate below 1 on the log axis of 1 - β: 1 - 10 to the power of U(log10(1 - high), log10(1 - low)).

    For momentum β and other rates of exponentially weighted averages, whose window is 1 / (1 - β).

    Example:
        >>> LogOneMinus(0.9, 0.999, default=0.9).value(0.5)  # windows of 10, 100 and 1000: the one in the middle
        0.99

    Args:
        low: the smallest value, 0 or more.
        high: the largest value, below 1.
        default: the value that a search begins with.
    """

    kind: Literal["log_one_minus"] = "log_one_minus"

    def __init__(self, low: float, high: float, *, default: float, **fields: Any) -> None:
        super().__init__(low, high, default=default, **fields)

    def model_post_init(self, context: Any) -> None:
        if not (0 <= self.low < 1 and 0 <= self.high < 1 and _complement(self.high) > 0):
            raise DefinitionError(f"a scale of 1 - β must lie in 0 to below 1; given {self.low:g} to {self.high:g}")
        super().model_post_init(context)

    @property
    def _stored_range(self) -> tuple[float, float]:
        return _complement(self.high), _complement(self.low)

    def value(self, unit: float) -> float:
        return self.from_stored(on_log(1 - unit, *self._stored_range))

    def unit(self, value: Value) -> float:
        return 1 - place_on_log(self.to_stored(value), *self._stored_range)

    def stored_name(self, name: str) -> str:
        return f"one_minus_{name}"

    @property
    def stored_as(self) -> str:
        return "1 minus its value"

    def to_stored(self, value: Value) -> float:
        return within(_complement(float(value)), *self._stored_range)

    def from_stored(self, stored: Any) -> float:
        return within(_complement(stored), self.low, self.high)

    def widened(self) -> Self:
        """Return the scale with one decade of 1 - β more on each side, as far as β stays 0 or more."""
        low, high = 1 - min(1.0, (1 - self.low) * _DECADE), 1 - (1 - self.high) / _DECADE
        return self._with_range(round(low, 12), round(high, 12))

    def axis(self, name: str) -> Axis:
        return Axis(f"{name} (log scale of 1 − {name})", "log")

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}, log of 1-β"


def _complement(value: float) -> float:
    return round(1 - value, 15)  # 1 - 0.9 is 0.09999999999999998 in binary
