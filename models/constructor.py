"""Call the constructor of any network: with the shape of an example and the number of outputs, if it asks for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

SAMPLE = ("sample", "input_shape")  # the names of a parameter that gets the shape of an example
OUTPUTS = ("outputs", "classes", "num_classes")  # and of one that gets the number of outputs


@dataclass(frozen=True)
class Constructor:
    """The parameters of a network's constructor.

    Attributes:
        sized: the names of those that get the shape of an example or the number of outputs.
        by_position: whether these two come first, whatever their names are.
        defaults: the hyperparameters with their defaults; those without one are in `required`.
    """

    sized: tuple[str, ...]
    by_position: bool
    defaults: Mapping[str, Any]
    required: tuple[str, ...]


def read_constructor(model: Callable[..., nn.Module]) -> Constructor:
    """Read the constructor of a class.

    Two required parameters before keyword-only ones are the shape and the number of outputs, whatever their names. So
    are the first arguments of a constructor that passes on whatever it gets.
    """
    every = inspect.signature(model).parameters.values()
    named = [p for p in every if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    sized = tuple(p.name for p in named if p.name in (*SAMPLE, *OUTPUTS))
    positional = [p.name for p in every if p.kind is not p.KEYWORD_ONLY and _is_required(p)]
    kinds = {p.kind for p in every}
    is_old_form = len(positional) == 2 and inspect.Parameter.KEYWORD_ONLY in kinds
    passes_on = inspect.Parameter.VAR_POSITIONAL in kinds and inspect.Parameter.POSITIONAL_OR_KEYWORD not in kinds
    by_position = not sized and (is_old_form or passes_on)
    if by_position:
        sized = tuple(positional)
    others = [p for p in named if p.name not in sized]
    return Constructor(
        sized,
        by_position,
        {p.name: p.default for p in others if p.default is not p.empty},
        tuple(p.name for p in others if _is_required(p)),
    )


def make_model(
    model: Callable[..., nn.Module], sample: tuple[int, ...], outputs: int, /, **hyperparameters: Any
) -> nn.Module:
    """Make a network for examples of a shape and a number of outputs."""
    positional, named = sizes(model, sample, outputs)
    return model(*positional, **named, **hyperparameters)


def sizes(
    model: Callable[..., nn.Module], sample: tuple[int, ...], outputs: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments by which a constructor gets the shape of an example and the number of outputs."""
    constructor = read_constructor(model)
    if constructor.by_position:
        return (sample, outputs), {}
    return (), {name: sample if name in SAMPLE else outputs for name in constructor.sized}


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )
