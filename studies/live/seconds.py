"""How long the training of a study took, read again and again while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine

from caviar.storage.curves import spent_seconds, unspent_seconds
from caviar.storage.status import one_moment


@dataclass
class Seconds:
    """The seconds of a study's training. Those of spent slots are the same for ever, so that only those are read that
    were spent since the last time."""

    _study: int = -1
    _done: int = -1
    _spent: float = 0.0
    _unspent: Mapping[int, float] = field(default_factory=dict)

    def read(self, engine: Engine, study_id: int, done: int) -> float:
        """Return how many seconds all epochs of a study took; `done` is how many of its slots are spent."""
        with one_moment(engine) as connection:
            now = unspent_seconds(connection, study_id)
            gone = self._unspent.keys() - now.keys()
            if self._study == study_id and done - self._done == len(gone):
                self._spent += spent_seconds(connection, study_id, gone) if gone else 0.0
            else:  # some came and went between two looks
                self._spent = spent_seconds(connection, study_id)
        self._study, self._done, self._unspent = study_id, done, now
        return self._spent + sum(now.values())
