"""A state that a worker saved on its machine during an outage is used only if the database has not got further."""

from __future__ import annotations

import pytest

from caviar.epoch import Epoch
from caviar.storage.unsent import Unsent
from caviar.studies.workers.trial.run import follows


@pytest.mark.parametrize(
    ("state_of", "waiting", "written", "used"),
    [
        (6, [4, 5, 6], 3, True),  # the epochs go on where the database's end
        (6, [4, 5, 6], 5, True),  # some of them were written after all
        (6, [4, 5, 6], 6, True),
        (6, [4, 5, 6], 7, False),  # another worker trained on meanwhile
        (6, [], 6, True),
        (6, [], 8, False),
        (6, [5, 6], 3, False),  # epoch 4 is missing
    ],
)
def test_a_saved_state_is_used_where_it_goes_on_from_the_database(
    state_of: int, waiting: list[int], written: int, used: bool
) -> None:
    epochs = [Epoch(number, 1.0, 1.0, 0.5, 0.1, 1.0) for number in waiting]
    assert follows(Unsent(state_of, epochs, b""), written) is used
