"""Metrics as a study writes them: the path of a function, or one of torchmetrics by its name and arguments."""

from __future__ import annotations

import re

from caviar.calls import Call, parse_call
from caviar.models.errors import BadMeasure
from caviar.text import shown

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def parse_metric(text: str) -> str | Call:
    """Return the path of a function as it is, and anything else as a function of torchmetrics.

    Example:
        >>> parse_metric("f1_score(average='macro')")
        Call(name='f1_score', arguments={'average': 'macro'})

    Raises:
        BadMeasure: it is neither.
    """
    if _PATH.fullmatch(text):
        return text
    if (call := parse_call(text)) is not None:
        return call
    raise BadMeasure(
        f"'{shown(text)}' is no metric; give the path of a function, package.module:function, or one of "
        f"torchmetrics.functional, such as f1_score(average='macro')"
    )
