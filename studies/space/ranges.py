"""Scales of numbers in a range: on a linear axis, or powers of two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import StrictFloat, StrictInt

from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import Axis, BaseScale, Value, bin_of, within

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class RangedScale(BaseScale):
    """A scale of numbers in a range.

    Args:
        low: the smallest value.
        high: the largest value.
        default: the value that a search begins with.

    Raises:
        DefinitionError: the range is empty or not one of this scale, or the default is outside of it.
    """

    low: float
    high: float
    default: float

    def __init__(self, low: float, high: float, *, default: float, **fields: Any) -> None:
        super().__init__(low=low, high=high, default=default, **fields)

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        if self.low >= self.high:
            raise DefinitionError(f"the range {self.low:g} to {self.high:g} is empty: low must be below high")
        if not self._accepts_default():
            raise DefinitionError(f"the default {self.default:g} is outside its range {self.low:g} to {self.high:g}")

    def _accepts_default(self) -> bool:
        """Return whether the default is one of the values."""
        return self.low <= self.default <= self.high

    def contains(self, other: BaseScale) -> bool:
        return type(other) is type(self) and self.low <= other.low and other.high <= self.high

    def _with_range(self, low: float, high: float) -> Self:
        return type(self).model_validate({**self.model_dump(), "low": low, "high": high})


class Linear(RangedScale):
    """A number on a linear axis; an integer if both ends, and so the default, are integers. For hidden units.

    Example:
        >>> Linear(50, 100, default=64).value(0.0), Linear(0.0, 0.5, default=0.1).value(0.5)
        (50, 0.25)
    """

    kind: Literal["linear"] = "linear"
    low: StrictInt | StrictFloat
    high: StrictInt | StrictFloat
    default: StrictInt | StrictFloat

    def __init__(self, low: float, high: float, *, default: float, **fields: Any) -> None:
        super().__init__(low, high, default=default, **fields)

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if self._integer and not isinstance(self.default, int):
            raise DefinitionError(f"both ends are integers, so the default must be one; given {self.default}")

    @property
    def _integer(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def bins(self) -> int:
        return int(self.high - self.low) + 1 if self._integer else 0

    def value(self, unit: float) -> float | int:
        if self._integer:
            return int(self.low) + bin_of(unit, self.bins)
        return within(self.low + unit * (self.high - self.low), self.low, self.high)

    def unit(self, value: Value) -> float:
        if self._integer:
            return (int(value) - self.low + 0.5) / self.bins
        return (float(value) - self.low) / (self.high - self.low)

    def from_stored(self, stored: Any) -> float | int:
        return int(stored) if self._integer else float(stored)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution, IntDistribution

        if self._integer:
            return IntDistribution(int(self.low), int(self.high))
        return FloatDistribution(self.low, self.high)

    def contains(self, other: BaseScale) -> bool:
        return super().contains(other) and isinstance(other, Linear) and self._integer == other._integer

    def widened(self) -> Self:
        """Return the scale with half of its width more on each side; what is above 0 stays so."""
        half = (self.high - self.low) / 2
        step = math.ceil(half) if self._integer else half
        least = -math.inf if self.low < 0 else min(self.low, 1) if isinstance(self.low, int) else 0.0
        return self._with_range(max(self.low - step, least), self.high + step)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}, linear{' integer' if self._integer else ''}"


class PowersOfTwo(RangedScale):
    """A power of two, each as likely as the next; so are `low`, `high` and `default`. For the mini-batch size.

    Example:
        >>> PowersOfTwo(16, 128, default=64).grid(4)
        [16, 32, 64, 128]
    """

    kind: Literal["powers_of_two"] = "powers_of_two"
    low: StrictInt
    high: StrictInt
    default: StrictInt

    def __init__(self, low: int, high: int, *, default: int, **fields: Any) -> None:
        super().__init__(low, high, default=default, **fields)

    def model_post_init(self, context: Any) -> None:
        for number in (self.low, self.high, self.default):
            if number < 1 or number & (number - 1):
                below = 1 << max(number.bit_length() - 1, 0)
                raise DefinitionError(f"{number} is not a power of two; the nearest are {below} and {below * 2}")
        super().model_post_init(context)

    @property
    def _exponents(self) -> range:
        return range(self.low.bit_length() - 1, self.high.bit_length())

    @property
    def bins(self) -> int:
        return len(self._exponents)

    def value(self, unit: float) -> int:
        return 1 << self._exponents[bin_of(unit, self.bins)]

    def unit(self, value: Value) -> float:
        return (self._exponents.index(self.to_stored(value)) + 0.5) / self.bins

    def stored_name(self, name: str) -> str:
        return f"log2_{name}"

    @property
    def stored_as(self) -> str:
        return "its exponent to the base 2"

    def to_stored(self, value: Value) -> int:
        return int(value).bit_length() - 1

    def from_stored(self, stored: Any) -> int:
        return 1 << int(stored)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(self._exponents[0], self._exponents[-1])

    def widened(self) -> Self:
        """Return the scale with two powers of two more on each side, as far as they are 1 or more."""
        return self._with_range(max(1, self.low // 4), self.high * 4)

    def axis(self, name: str) -> Axis:
        return Axis(f"{name} (powers of two)")

    def __str__(self) -> str:
        return f"{self.low} … {self.high}, powers of two"
