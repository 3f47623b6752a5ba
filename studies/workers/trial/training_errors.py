"""Tell errors of training code, which may raise anything, from those of the database and of Caviar itself."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from caviar.models.training import Interrupted


class TrainingRaised(Exception):
    """Training code raised `error`; the database or this worker did not."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def training_code() -> Iterator[None]:
    """Run code of a model or its training.

    Raises:
        TrainingRaised: the code raised an error, whichever.
        caviar.models.training.Interrupted: the epoch was left in its middle, as asked for.
    """
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        _let_go(error)
        raise TrainingRaised(error) from error


def _let_go(error: BaseException | None) -> None:
    """Clear the frames of a traceback, which hold the activations that filled a GPU; its lines stay."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
