"""Keep C++ errors of a user's code, which runs in a greenlet, from ending the process.

PyTorch notes the 64 innermost frames of C's stack with each error that it raises, even that of a wrong shape. A
greenlet has a few of them; behind its first one stands whatever the worker has there by now, and to follow that as if
it were frames ends in a segmentation fault. With enough frames in between, nobody looks behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

Result = TypeVar("Result")

_CALLS = 40  # each has two frames of C at least: that of `partial`, and that of Python's interpreter


def padded(function: Callable[[], Result]) -> Result:
    """Call a function below so many calls by C that its own frames are the innermost ones for sure."""
    for _ in range(_CALLS):
        function = partial(_call, function)
    return function()


def _call(function: Callable[[], Result]) -> Result:
    return function()
