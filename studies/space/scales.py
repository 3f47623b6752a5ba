"""The scales of hyperparameters: the range of each, and the axis on which it is searched.

Numbers that are uniform on [0, 1], random or quasi-random, become values that are spread as they should be. Optuna
stores a value on an axis on which its own samplers and plots are right: β as `one_minus_momentum` on a log axis, a
power of two as its exponent.

A new scale is a subclass of `BaseScale` in this module, and its name in `__all__` and in `Scale`.

Source of ranges and formulas: Andrew Ng, Improving Deep Neural Networks, week 3, "Using an appropriate scale".
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StrictFloat, StrictInt

from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import Axis, BaseScale, RangedScale, Value, bin_of, on_log, place_on_log, within

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Choice", "Grid", "Linear", "Log", "LogOneMinus", "PowersOfTwo"]

_DECADE = 10


class Log(RangedScale):
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
    def _floor(self) -> float:
        return self.low / _DECADE if self.or_zero else self.low

    @property
    def gap(self) -> float:
        return self.unit(self.low) if self.or_zero else 0.0

    def value(self, unit: float) -> float:
        return self.from_stored(on_log(unit, self._floor, self.high))

    def unit(self, value: Value) -> float:
        return place_on_log(self.to_stored(value), self._floor, self.high)

    def stored_name(self, name: str) -> str:
        return f"{name}_or_floor" if self.or_zero else name

    def to_stored(self, value: Value) -> float:
        return float(value) or self._floor

    def from_stored(self, stored: Any) -> float:
        return 0.0 if stored < self.low else float(stored)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self._floor, self.high, log=True)

    def contains(self, other: BaseScale) -> bool:
        return super().contains(other) and isinstance(other, Log) and self.or_zero >= other.or_zero

    def widened(self) -> Self:
        """Return the scale with one decade more on each side."""
        return self._with_range(self.low / _DECADE, self.high * _DECADE)

    def axis(self, name: str) -> Axis:
        return Axis(name, "log")

    def on_axis(self, value: Value) -> float:
        return self.to_stored(value)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}{' or 0' if self.or_zero else ''}, log"


class LogOneMinus(RangedScale):
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

    def to_stored(self, value: Value) -> float:
        return within(_complement(float(value)), *self._stored_range)

    def from_stored(self, stored: Any) -> float:
        return within(_complement(stored), self.low, self.high)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(*self._stored_range, log=True)

    def widened(self) -> Self:
        """Return the scale with one decade of 1 - β more on each side, as far as β stays 0 or more."""
        low, high = 1 - min(1.0, (1 - self.low) * _DECADE), 1 - (1 - self.high) / _DECADE
        return self._with_range(round(low, 12), round(high, 12))

    def axis(self, name: str) -> Axis:
        return Axis(f"1 − {name}", "log", reversed=True)

    def on_axis(self, value: Value) -> float:
        return self.to_stored(value)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}, log of 1-β"


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
        return Axis(name, "log")

    def __str__(self) -> str:
        return f"{self.low} … {self.high}, powers of two"


class _Listed(BaseScale):
    """A short list of values, each as likely as the next.

    Args:
        values: two or more, all different.
        default: the one that a search begins with.

    Raises:
        DefinitionError: there are fewer than two different values, or the default is none of them.
    """

    values: tuple[Value, ...]

    def __init__(self, *values: Value, default: Value, **fields: Any) -> None:
        fields.setdefault("values", values)
        super().__init__(default=default, **fields)

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        if len(set(self.values)) < max(2, len(self.values)):
            raise DefinitionError(f"a list needs two values or more, all different; given {list(self.values)}")
        if self.default not in self.values:
            raise DefinitionError(f"the default {self.default!r} is not in the list {list(self.values)}")

    @property
    def bins(self) -> int:
        return len(self.values)

    def value(self, unit: float) -> Value:
        return self.values[bin_of(unit, self.bins)]

    def unit(self, value: Value) -> float:
        return (self.values.index(value) + 0.5) / self.bins

    def from_internal(self, number: float) -> Value:
        return self.values[int(number)]

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def contains(self, other: BaseScale) -> bool:
        """Return whether another list of the same kind has no value that this one lacks; 1 is not 1.0."""
        return type(other) is type(self) and {*map(repr, other.values)} <= {*map(repr, self.values)}

    def grid(self, points: int) -> list[Value]:  # noqa: ARG002
        """Return all values, however many points are wanted."""
        return list(self.values)

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


class Grid(_Listed):
    """A short list of numbers in rising order, small enough for a grid. For the number of layers.

    Integers that are equally far apart are stored as such, so that samplers see their order.

    Example:
        >>> Grid(2, 3, 4, default=2).value(0.9)
        4
    """

    kind: Literal["grid"] = "grid"

    def __init__(self, *values: float, default: float, **fields: Any) -> None:
        super().__init__(*values, default=default, **fields)

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if any(isinstance(value, str) for value in self.values) or list(self.values) != sorted(self.values):
            raise DefinitionError(f"a grid holds numbers in rising order; given {list(self.values)}")

    @property
    def step(self) -> int | None:
        """The distance between neighbours, if all are integers and equally far apart; None otherwise."""
        numbers = [value for value in self.values if isinstance(value, int)]
        steps = {b - a for a, b in pairwise(numbers)}
        return steps.pop() if len(numbers) == len(self.values) and len(steps) == 1 else None

    def from_internal(self, number: float) -> Value:
        return int(number) if self.step else super().from_internal(number)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        if self.step:
            return IntDistribution(int(self.values[0]), int(self.values[-1]), step=self.step)
        return super().distribution()

    def widened(self) -> Self | None:
        """Return the grid with one step more on each side; what is above 0 stays so. None without equal steps."""
        if self.step is None:
            return None
        values = [int(value) for value in self.values]
        below = values[0] - self.step
        values = [*([below] if below >= min(values[0], 1) else []), *values, values[-1] + self.step]
        return type(self)(*values, default=int(self.default))


class Choice(_Listed):
    """One of a few names, without an order. For the activation.

    Example:
        >>> Choice("relu", "gelu", "tanh", default="relu").grid(2)
        ['relu', 'gelu', 'tanh']
    """

    kind: Literal["choice"] = "choice"

    @property
    def unordered(self) -> bool:
        return True

    def axis(self, name: str) -> Axis:
        return Axis(name, "category", categories=self.values)


Scale = Annotated[Log | LogOneMinus | Linear | PowersOfTwo | Grid | Choice, Field(discriminator="kind")]


def _complement(value: float) -> float:
    return round(1 - value, 15)  # 1 - 0.9 is 0.09999999999999998 in binary
