"""How long the training of a study took, read again and again while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from caviar.storage.curves import spent_seconds


@dataclass
class Seconds:
    """The seconds of a study's spent slots, which are the same until one more is spent."""

    _of: tuple[int, int] = (-1, -1)  # the study, and how many of its slots were spent
    _spent: float = 0.0

    def read(self, engine: Engine, study_id: int, done: int) -> float:
        """Return how many seconds all epochs of a study took; of its spent slots those are summed only where their
        number, `done`, is another than before."""
        if self._of != (study_id, done):
            self._spent = spent_seconds(engine, study_id, spent=True)
            self._of = study_id, done
        return self._spent + spent_seconds(engine, study_id, spent=False)
