"""Data loaders whose worker processes outlive an epoch, and their random numbers with them."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch.utils.data import DataLoader

Source = TypeVar("Source")


def with_new_workers(source: Source) -> Source:
    """Return a loader that starts its workers anew, by the seed of the epoch, where `source` has persistent ones.

    Those have drawn from their generators in earlier epochs, which a trial that goes on in another process cannot know.
    A class of its own, such as Accelerate's, is left as it is: what it counts would be lost with the copy.
    """
    if not isinstance(source, DataLoader) or type(source) is not DataLoader or not source.persistent_workers:
        return source
    loader = copy.copy(source)
    vars(loader)["persistent_workers"] = False  # a loader refuses that by an assignment
    return loader
