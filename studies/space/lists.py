"""Scales that are short lists: numbers in rising order, or names without an order."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Self

from caviar.studies.errors import DefinitionError
from caviar.studies.space.base import BaseScale, Value, bin_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


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
