"""The scales, by the documented formulas: on which axis a hyperparameter is searched.

Uniform numbers, random or quasi-random, become values that are spread as they should be. In Optuna a value is stored
on an axis on which Optuna's own samplers and plots are right: β as `one_minus_momentum` on a log axis, a power of two
as its exponent.

Source of ranges and formulas: Andrew Ng, Improving Deep Neural Networks, week 3, "Using an appropriate scale".
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictFloat, StrictInt

from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import (
    BaseScale,
    Value,
    bin_of,
    check_default,
    check_range,
    on_log_axis,
    place_on_log_axis,
    within,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Log(BaseScale):
    """A positive number on a log axis: 10 to the power of U(log10 low, log10 high). For the learning rate α.

    With `or_zero` also exactly 0, which has no place on a log axis: it takes one more decade below `low`, and is
    stored as low / 10. For the learning-rate decay, whose default is 0.
    """

    kind: Literal["log"] = "log"
    low: float
    high: float
    default: float
    or_zero: bool = False

    def __init__(self, low: float, high: float, *, default: float, or_zero: bool = False, **fields: Any) -> None:
        super().__init__(low=low, high=high, default=default, or_zero=or_zero, **fields)

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        if self.low <= 0:
            raise DefinitionError(f"a log scale must start above 0; given {self.low:g} to {self.high:g}")
        check_range(self)
        if not (self.or_zero and self.default == 0):
            check_default(self)

    @property
    def _floor(self) -> float:
        return self.low / 10 if self.or_zero else self.low

    @property
    def gap(self) -> float:
        return self.unit(self.low) if self.or_zero else 0.0

    def value(self, unit: float) -> float:
        return self.from_stored(on_log_axis(unit, self._floor, self.high))

    def unit(self, value: Value) -> float:
        return place_on_log_axis(self.to_stored(value), self._floor, self.high)

    def stored_name(self, name: str) -> str:
        return f"{name}_or_floor" if self.or_zero else name

    def to_stored(self, value: Value) -> float:
        return float(value) or self._floor

    def from_stored(self, stored: Any) -> float:
        return 0.0 if stored < self.low else float(stored)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self._floor, self.high, log=True)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}{' or 0' if self.or_zero else ''}, log"


class LogOneMinus(BaseScale):
    """A rate below 1 on the log axis of 1 - β: 1 - 10 to the power of U(log10(1 - high), log10(1 - low)).

    For momentum β and other rates of exponentially weighted averages, whose window is 1 / (1 - β).
    """

    kind: Literal["log_one_minus"] = "log_one_minus"
    low: float
    high: float
    default: float

    def __init__(self, low: float, high: float, *, default: float, **fields: Any) -> None:
        super().__init__(low=low, high=high, default=default, **fields)

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        if not (0 <= self.low < 1 and 0 <= self.high < 1 and _complement(self.high) > 0):
            raise DefinitionError(f"a scale of 1 - β must lie in 0 to below 1; given {self.low:g} to {self.high:g}")
        check_range(self)
        check_default(self)

    @property
    def _stored_range(self) -> tuple[float, float]:
        return _complement(self.high), _complement(self.low)

    def value(self, unit: float) -> float:
        return self.from_stored(on_log_axis(1 - unit, *self._stored_range))

    def unit(self, value: Value) -> float:
        return 1 - place_on_log_axis(self.to_stored(value), *self._stored_range)

    def stored_name(self, name: str) -> str:
        return f"one_minus_{name}"

    def to_stored(self, value: Value) -> float:
        return within(_complement(float(value)), *self._stored_range)

    def from_stored(self, stored: Any) -> float:
        return within(_complement(stored), self.low, self.high)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution

        return FloatDistribution(*self._stored_range, log=True)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}, log of 1-β"


class Linear(BaseScale):
    """A number on a linear axis; an integer where both ends are integers. For hidden units."""

    kind: Literal["linear"] = "linear"
    low: StrictInt | StrictFloat
    high: StrictInt | StrictFloat
    default: StrictInt | StrictFloat

    def __init__(self, low: float, high: float, *, default: float, **fields: Any) -> None:
        super().__init__(low=low, high=high, default=default, **fields)

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        check_range(self)
        check_default(self)
        if self._integer and not isinstance(self.default, int):
            raise DefinitionError(f"both ends are integers, so the default must be one; given {self.default}")

    @property
    def _integer(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def value(self, unit: float) -> float | int:
        if self._integer:
            return int(self.low) + bin_of(unit, int(self.high - self.low) + 1)
        return within(self.low + unit * (self.high - self.low), self.low, self.high)

    def unit(self, value: Value) -> float:
        if self._integer:
            return (int(value) - self.low + 0.5) / (self.high - self.low + 1)
        return (float(value) - self.low) / (self.high - self.low)

    def from_stored(self, stored: Any) -> float | int:
        return int(stored) if self._integer else float(stored)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution, IntDistribution

        if self._integer:
            return IntDistribution(int(self.low), int(self.high))
        return FloatDistribution(self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}, linear{' integer' if self._integer else ''}"


class PowersOfTwo(BaseScale):
    """A power of two, each as likely as the next. For the mini-batch size."""

    kind: Literal["powers_of_two"] = "powers_of_two"
    low: StrictInt
    high: StrictInt
    default: StrictInt

    def __init__(self, low: int, high: int, *, default: int, **fields: Any) -> None:
        super().__init__(low=low, high=high, default=default, **fields)

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        for number in (self.low, self.high, self.default):
            if number < 1 or number & (number - 1):
                raise DefinitionError(f"{number} is not a power of two; the nearest are {_powers_around(number)}")
        check_range(self)
        check_default(self)

    @property
    def _exponents(self) -> range:
        return range(self.low.bit_length() - 1, self.high.bit_length())

    def value(self, unit: float) -> int:
        return 1 << self._exponents[bin_of(unit, len(self._exponents))]

    def unit(self, value: Value) -> float:
        return (self._exponents.index(self.to_stored(value)) + 0.5) / len(self._exponents)

    def stored_name(self, name: str) -> str:
        return f"log2_{name}"

    def to_stored(self, value: Value) -> int:
        return int(value).bit_length() - 1

    def from_stored(self, stored: Any) -> int:
        return 1 << int(stored)

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import IntDistribution

        return IntDistribution(self._exponents[0], self._exponents[-1])

    def __str__(self) -> str:
        return f"{self.low} … {self.high}, powers of two"


class _Listed(BaseScale):
    """A short list of values, each as likely as the next."""

    values: tuple[Value, ...]
    default: Value

    def __init__(self, *values: Value, default: Value, **fields: Any) -> None:
        fields.setdefault("values", values)
        super().__init__(default=default, **fields)

    def model_post_init(self, context: Any) -> None:  # noqa: ARG002
        if len(set(self.values)) < max(2, len(self.values)):
            raise DefinitionError(f"a list needs two values or more, all different; given {list(self.values)}")
        if self.default not in self.values:
            raise DefinitionError(f"the default {self.default!r} is not in the list {list(self.values)}")

    def value(self, unit: float) -> Value:
        return self.values[bin_of(unit, len(self.values))]

    def unit(self, value: Value) -> float:
        return (self.values.index(value) + 0.5) / len(self.values)

    def from_internal(self, number: float) -> Value:
        return self.values[int(number)]

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def grid(self, points: int) -> list[Value]:  # noqa: ARG002
        return list(self.values)

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


class Grid(_Listed):
    """A short list of numbers in rising order, small enough for a grid. For the number of layers.

    Integers that are equally far apart are stored as such, so that samplers see their order.
    """

    kind: Literal["grid"] = "grid"

    def __init__(self, *values: int | float, default: int | float, **fields: Any) -> None:
        super().__init__(*values, default=default, **fields)

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if any(isinstance(value, str) for value in self.values) or list(self.values) != sorted(self.values):
            raise DefinitionError(f"a grid holds numbers in rising order; given {list(self.values)}")

    @property
    def step(self) -> int | None:
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


class Choice(_Listed):
    """One of a few names, without an order. For the activation."""

    kind: Literal["choice"] = "choice"

    @property
    def unordered(self) -> bool:
        return True

    def __init__(self, *values: Value, default: Value, **fields: Any) -> None:
        super().__init__(*values, default=default, **fields)


SCALE_NAMES = ("Log", "LogOneMinus", "Linear", "PowersOfTwo", "Grid", "Choice")
Scale = Annotated[Log | LogOneMinus | Linear | PowersOfTwo | Grid | Choice, Field(discriminator="kind")]


def _powers_around(number: int) -> str:
    below = 1 << max(number.bit_length() - 1, 0)
    return f"{below} and {below * 2}"


def _complement(value: float) -> float:
    return round(1 - value, 15)  # 1 - 0.9 is 0.09999999999999998 in binary
