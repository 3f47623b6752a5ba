"""The scales of hyperparameters: the range of each, and the axis on which it is searched.

Numbers that are uniform on [0, 1], random or quasi-random, become values that are spread as they should be. Optuna
stores a value on an axis on which its own samplers and plots are right: β as `one_minus_momentum` on a log axis, a
power of two as its exponent.

A new scale is a subclass of `BaseScale` in this folder, and its name in `__all__` and in `Scale`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from caviar.studies.space.lists import Choice, Grid
from caviar.studies.space.logarithmic import Log, LogOneMinus
from caviar.studies.space.ranges import Linear, PowersOfTwo

__all__ = ["Choice", "Grid", "Linear", "Log", "LogOneMinus", "PowersOfTwo"]

Scale = Annotated[Log | LogOneMinus | Linear | PowersOfTwo | Grid | Choice, Field(discriminator="kind")]
