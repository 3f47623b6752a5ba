"""Metrics as a study writes them: the path of a function, or one of torchmetrics by its name and arguments."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caviar.models.errors import BadMeasure
from caviar.text import shown

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True)
class MetricCall:
    """A function of `torchmetrics.functional`, with the arguments that it gets besides outputs and targets."""

    name: str
    arguments: Mapping[str, Any]


def parse_metric(text: str) -> str | MetricCall:
    """Return the path of a function as it is, and anything else as a function of torchmetrics.

    Example:
        >>> parse_metric("f1_score(average='macro')")
        MetricCall(name='f1_score', arguments={'average': 'macro'})

    Raises:
        BadMeasure: it is neither.
    """
    if _PATH.fullmatch(text):
        return text
    try:
        written = ast.parse(text, mode="eval").body
        call = written if isinstance(written, ast.Call) else ast.Call(written, [], [])
        if isinstance(call.func, ast.Name) and not call.args and all(k.arg for k in call.keywords):
            return MetricCall(call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords})
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise BadMeasure(
        f"'{shown(text)}' is no metric; give the path of a function, package.module:function, or one of "
        f"torchmetrics.functional, such as f1_score(average='macro')"
    )
