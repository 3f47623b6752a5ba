"""The contract of a scale: it maps the unit interval onto a hyperparameter's values, and values onto Optuna's axis."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, StrictFloat, StrictInt, StrictStr, ValidationError, model_validator

from caviar.limits import NUMBER, TEXT, VALUES, WHOLE
from caviar.studies.errors import DefinitionError
from caviar.studies.space.problems import first_problem
from caviar.text import flaw, quoted, shown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = StrictInt | StrictFloat | StrictStr


def check_value(value: object) -> None:
    """Check that the value of a hyperparameter is within the limits of `caviar.limits`.

    Raises:
        DefinitionError: it is a number that is too large or too small, or a name that cannot be stored.
    """
    if isinstance(value, str) and (why := flaw(value, TEXT)):
        raise DefinitionError(f"the value '{shown(value)}' {why}")
    if isinstance(value, int) and abs(value) > WHOLE:
        raise DefinitionError(f"{quoted(value)} is too large; give an integer of at most {WHOLE:,}")
    if isinstance(value, float) and math.isfinite(value) and value and not 1 / NUMBER <= abs(value) <= NUMBER:
        raise DefinitionError(f"{value:g} is beyond what can be searched; give 0, or {1 / NUMBER:g} to {NUMBER:g}")


@dataclass(frozen=True)
class Axis:
    """How a plot names the axis of a hyperparameter, and which numbers are round ones on it."""

    title: str
    kind: Literal["linear", "log"] = "linear"


class BaseScale(BaseModel, ABC):
    """The range of a hyperparameter, and the axis on which it is searched.

    A scale knows three forms of a hyperparameter: its value, which a network is trained with; its unit, the place of
    the value on [0, 1], where equal distances count the same; and its stored form, which Optuna keeps. A subclass
    gives at least `value`, `unit` and `distribution`, and overrides the rest where the default is not right for it.

    Attributes:
        default: the value of the first trial, and of trials in which the hyperparameter is not searched yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    default: Value

    @model_validator(mode="before")
    @classmethod
    def _check_limits(cls, fields: Any) -> Any:
        """Check every value before the ranges are compared, whose arithmetic overflows."""
        for given in fields.values() if isinstance(fields, Mapping) else ():
            values = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
            if len(values) > VALUES:
                raise DefinitionError(f"a list of {len(values):,} values is too long; give at most {VALUES:,}")
            for value in values:
                check_value(value)
        return fields

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DefinitionError(f"{type(self).__name__}: {first_problem(error)}") from None

    @abstractmethod
    def value(self, unit: float) -> Value:
        """Return the value at `unit`, 0 to 1; both ends of the range are reached, and never passed."""

    @abstractmethod
    def unit(self, value: Value) -> float:
        """Return the place of a value on [0, 1]: the middle of its bin where values are discrete."""

    @abstractmethod
    def distribution(self) -> BaseDistribution:
        """Return Optuna's distribution of the stored form: the whole range, for the whole life of a study."""

    @property
    def bins(self) -> int:
        """The number of values, if they share the unit interval equally; 0 for a continuous scale."""
        return 0

    @property
    def unordered(self) -> bool:
        """Whether the values are names, none of them nearer to one than to another."""
        return False

    @property
    def gap(self) -> float:
        """The unit below which everything is the lowest value, as a decade that stands for 0; 0 if there is none."""
        return 0.0

    def stored_name(self, name: str) -> str:
        """Return the name under which Optuna keeps the hyperparameter `name`."""
        return name

    @property
    def stored_as(self) -> str:
        """What the stored form is in words, for people who read Optuna's pages; empty if it is the value itself."""
        return ""

    def to_stored(self, value: Value) -> Value:
        """Return the stored form of a value."""
        return value

    def from_stored(self, stored: Any) -> Value:
        """Return the value of a stored form."""
        return stored  # type: ignore[no-any-return]

    def from_internal(self, number: float) -> Value:
        """Return the value of a row in Optuna's tables, which hold numbers only."""
        return self.from_stored(number)

    def accepts(self, value: Value) -> bool:
        """Return whether a value is one of this scale's."""
        try:
            back = self.value(self.unit(value))
        except (ValueError, TypeError, ArithmeticError):  # not in a list, not a number, or beyond all numbers
            return False
        return back == value or (isinstance(back, float) and math.isclose(back, float(value), rel_tol=1e-6))

    def around(self, value: Value) -> tuple[Value, Value] | None:
        """Return the two values that a number lies between without being one; None if it is below or above all of them,
        no number, or between any two values there are others."""
        if not self.bins or self.unordered or not isinstance(value, int | float) or self.accepts(value):
            return None

        def at(place: int) -> Any:
            return self.value((place + 0.5) / self.bins)

        above = bisect_left(range(self.bins), value, key=at)
        return (at(above - 1), at(above)) if 0 < above < self.bins else None

    def contains(self, other: BaseScale) -> bool:
        """Return whether every value of another scale is one of this scale's, with the same meaning."""
        return self == other

    def widened(self) -> Self | None:
        """Return this scale with a larger range on both sides; None if it has no range that could grow."""
        return None

    def grid(self, points: int) -> list[Value]:
        """Return at most `points` different values, equally far from one another on this scale."""
        return list(dict.fromkeys(self.value(i / (points - 1)) for i in range(points)))

    def end_near(self, value: Value, edge: float) -> Literal["lower", "upper"] | None:
        """Return the end of the range that a value is at, if any; `edge` is the share of the unit interval that counts
        as an end of a continuous scale."""
        if self.unordered:
            return None
        if self.bins:
            return "lower" if value == self.value(0.0) else "upper" if value == self.value(1.0) else None
        unit = self.unit(value)
        if unit < self.gap:
            return None  # 0 has no place on a log axis: it is not near the numbers that have
        return "lower" if unit <= edge else "upper" if unit >= 1 - edge else None

    def axis(self, name: str) -> Axis:
        """Return the axis on which a plot draws the hyperparameter `name`; its title says which scale it has."""
        return Axis(name)

    def on_axis(self, value: Value) -> Value:
        """Return the number of a value on `axis`, on which round ones are looked for."""
        return value


def within(value: float, low: float, high: float) -> float:
    """Return the number in a range that is nearest to `value`."""
    return min(max(value, low), high)


def bin_of(unit: float, bins: int) -> int:
    """Return the number, from 0, of that of `bins` equal parts of [0, 1] into which `unit` falls."""
    return min(max(int(unit * bins), 0), bins - 1)


def on_log(unit: float, low: float, high: float) -> float:
    """Return the number at `unit`, 0 to 1, of the log axis from `low` to `high`."""
    exponent = math.log10(low) + unit * (math.log10(high) - math.log10(low))
    return within(10**exponent, low, high)


def place_on_log(value: float, low: float, high: float) -> float:
    """Return the place on [0, 1] of a number on the log axis from `low` to `high`."""
    return within((math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low)), 0.0, 1.0)
