"""Suggestions for a misspelt name, to be put into an error message."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 3, cutoff: float = 0.6) -> str:
    """Return "did you mean a or b? " for the known names nearest to `name`; an empty string if none is near.

    Args:
        name: the name that was given.
        known: the names that exist.
        limit: the largest number of names to suggest.
        cutoff: the least similarity of a suggestion, 0 to 1, as `difflib.get_close_matches` measures it.
    """
    near = get_close_matches(name, list(known), n=limit, cutoff=cutoff)
    return f"did you mean {' or '.join(near)}? " if near else ""
