"""Training code is expected to fail in its own ways: what it raises is told apart from whatever Caviar may raise."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from caviar.models.training import Interrupted


class TrainingRaised(Exception):
    """Training code raised `error`, as distinct from whatever the database or this worker may raise."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def training_code() -> Iterator[None]:
    """Run what comes from a model or its training.

    Raises:
        TrainingRaised: whatever it raised.
        caviar.models.training.Interrupted: it was asked to leave.
    """
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        _let_go(error)
        raise TrainingRaised(error) from error


def _let_go(error: BaseException | None) -> None:
    """Let go of what the code that raised still holds, such as the activations that filled a GPU: the lines of the
    traceback stay."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
