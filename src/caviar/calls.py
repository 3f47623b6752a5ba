"""Calls as a text writes them, `f1_score(average='macro')`: a name, and literal arguments by name. Nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST = 1000  # characters


@dataclass(frozen=True)
class Call:
    """A name, with the arguments that stand behind it."""

    name: str
    arguments: Mapping[str, Any]


def parse_call(text: str) -> Call | None:
    """Return the call that a text writes, which may leave out the brackets; None if it writes none.

    Example:
        >>> parse_call("f1_score(average='macro')")
        Call(name='f1_score', arguments={'average': 'macro'})
    """
    if len(text) > _LONGEST:
        return None
    try:
        written = ast.parse(text, mode="eval").body
        call = written if isinstance(written, ast.Call) else ast.Call(written, [], [])
        if isinstance(call.func, ast.Name) and not call.args and all(k.arg for k in call.keywords):
            return Call(call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords})
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    return None
