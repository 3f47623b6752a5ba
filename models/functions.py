"""Functions of the user's own, by their paths, `package.module:function`: for data, losses and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caviar.models.errors import UnknownFunction
from caviar.text import quoted
from caviar.user_code import NotThere, load_object


def load_function(path: str) -> Callable[..., Any]:
    """Return the function at a path, which runs the code of its module.

    Raises:
        UnknownFunction: there is none.
    """
    try:
        function = load_object(path)
    except NotThere as error:
        raise UnknownFunction(f"no function at '{path}': {error}") from error
    if not callable(function):
        raise UnknownFunction(f"'{path}' is no function: {quoted(function)}")
    return function  # type: ignore[no-any-return]
