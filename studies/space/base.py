"""What every scale is: a map of the unit interval onto values, and onto the axis on which Optuna keeps them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, StrictFloat, StrictInt, StrictStr, ValidationError

from caviar.studies.errors import DefinitionError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = StrictInt | StrictFloat | StrictStr


def first_problem(error: ValidationError) -> str:
    """Return what pydantic found first, in one line: where, what, and what was given."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"])) or "value"
    given = f"; given {problem['input']!r}" if problem["type"] not in ("missing", "unexpected_keyword_argument") else ""
    return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}{given}"


class BaseScale(BaseModel, ABC):
    """What every scale can do. Values are what a network gets; stored values are what Optuna keeps.

    Raises:
        DefinitionError: the range is empty or not of this scale, or the default is outside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DefinitionError(f"{type(self).__name__}: {first_problem(error)}") from None

    @abstractmethod
    def value(self, unit: float) -> Value:
        """Return the value at `unit` of [0, 1]; both ends of the range are reached, and never passed."""

    @abstractmethod
    def unit(self, value: Value) -> float:
        """Return the place of a value on [0, 1]; the middle of its bin where values are discrete."""

    @abstractmethod
    def distribution(self) -> BaseDistribution:
        """Return the stored axis as Optuna's distribution: the whole range, for the whole life of a study."""

    @property
    def unordered(self) -> bool:
        """Whether this is one of a few names, none of them nearer to one than to another."""
        return False

    @property
    def gap(self) -> float:
        """Where on [0, 1] the numbers begin that are not the lowest value; 0 where all are."""
        return 0.0

    def stored_name(self, name: str) -> str:
        """Return the name under which Optuna keeps the hyperparameter `name`."""
        return name

    def to_stored(self, value: Value) -> Value:
        """Return what Optuna keeps for a value."""
        return value

    def from_stored(self, stored: Any) -> Value:
        """Return the value that Optuna keeps as `stored`: this one is trained."""
        return stored  # type: ignore[no-any-return]

    def from_internal(self, number: float) -> Value:
        """Return the value of a row of Optuna's tables, which hold numbers only."""
        return self.from_stored(number)

    def holds(self, value: Value) -> bool:
        """Say whether a value is one of this scale's."""
        try:
            back = self.value(self.unit(value))
        except (ValueError, TypeError):  # not in a list, or not a number
            return False
        return back == value or (isinstance(back, float) and math.isclose(back, float(value), rel_tol=1e-6))

    def grid(self, points: int) -> list[Value]:
        """Return at most `points` values, equally far from one another on this scale, without repeats."""
        return list(dict.fromkeys(self.value(i / (points - 1)) for i in range(points)))


def check_range(scale: Any) -> None:
    """Raise DefinitionError where a range is empty."""
    if scale.low >= scale.high:
        raise DefinitionError(f"the range {scale.low:g} to {scale.high:g} is empty: low must be below high")


def check_default(scale: Any) -> None:
    """Raise DefinitionError where a default is outside its range."""
    if not scale.low <= scale.default <= scale.high:
        raise DefinitionError(f"the default {scale.default:g} is outside its range {scale.low:g} to {scale.high:g}")


def within(value: float, low: float, high: float) -> float:
    """Return the nearest number of a range."""
    return min(max(value, low), high)


def bin_of(unit: float, bins: int) -> int:
    """Return which of `bins` equal parts of the unit interval a number falls into."""
    return min(max(int(unit * bins), 0), bins - 1)


def on_log_axis(unit: float, low: float, high: float) -> float:
    """Return the number at `unit` of the log axis from `low` to `high`."""
    exponent = math.log10(low) + unit * (math.log10(high) - math.log10(low))
    return within(10**exponent, low, high)


def place_on_log_axis(value: float, low: float, high: float) -> float:
    """Return the place on [0, 1] of a number on the log axis from `low` to `high`."""
    return within((math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low)), 0.0, 1.0)
