"""The winner of a study with a loop of the user's own: confirmed, tested and saved as that of a model."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

import caviar
from caviar.studies.results.winner import read_winner
from tests.helpers.trainings import register_training
from tests.helpers.workers import worker


def test_the_winner_is_confirmed_by_its_own_function(engine: Engine) -> None:
    record, study = register_training(engine, "regression", pruner="none")
    worker(engine, record, study).run()

    done: list[float] = []
    winner = caviar.confirm("own", 2, on_progress=lambda now: done.append(now.done), database=engine)

    assert winner is not None
    assert winner.confirmation is not None
    values = winner.confirmation.winner_values
    assert len(values) == len(set(values)) == 2  # with seeds of their own
    assert winner.value not in values
    assert done[0] == 0
    assert done[-1] == pytest.approx(4)
    again = read_winner(engine, record)
    assert again is not None
    assert again.confirmation == winner.confirmation
