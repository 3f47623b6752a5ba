"""The line of the user's own code that called Caviar."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from caviar.user_code import calling_line


def line_by(file: str) -> str:
    """Return what is found where code of another file makes the call."""
    scope = {"__name__": "framework"}
    exec(compile("def fit(callback):\n    return callback()", file, "exec"), scope)
    fit: Callable[[Callable[[], str]], str] = scope["fit"]  # type: ignore[assignment]
    return fit(calling_line)


def test_the_line_of_ones_own_is_found_behind_that_of_a_framework() -> None:
    assert line_by("/home/me/tune.py") == "/home/me/tune.py:2"
    own = f"{__file__}:{inspect.getsource(line_by).count(chr(10)) + inspect.getsourcelines(line_by)[1] - 1}"
    assert line_by("/lib/python3/site-packages/lightning/trainer.py") == own
