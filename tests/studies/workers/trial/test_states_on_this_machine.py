"""When a trial's state on this machine is used, and when it is dropped: never while the database is further."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import Mock

import pytest

from caviar.epoch import Epoch
from caviar.storage.unsent import Unsent
from caviar.studies.workers.trial.checkpoints import CheckpointKeeper
from tests.helpers.epochs import measured


def epochs(*numbers: int) -> list[Epoch]:
    return [measured(number, 0.5, 0.6, 0.7, 0.1, 0.01) for number in numbers]


@pytest.mark.parametrize(
    ("epoch", "waiting", "written", "expected"),
    [
        (5, (4, 5), 3, True),  # it goes on exactly where the database ends
        (5, (4, 5), 4, True),  # the database has a part of it
        (5, (4, 5), 5, True),  # and all of its epochs, but not its state
        (3, (), 3, True),
        (5, (4, 5), 6, False),  # the database is further: another worker went on with the trial
        (3, (), 4, False),
        (5, (4, 5), 2, False),  # epoch 3 is nowhere
        (4, (), 2, False),
    ],
)
def test_a_state_is_used_only_where_it_goes_on_from_the_database(
    epoch: int, waiting: tuple[int, ...], written: int, expected: bool
) -> None:
    assert (Unsent(epoch, epochs(*waiting), b"state").why_unusable(written) is None) is expected


@pytest.mark.parametrize("unwritten", [(), (2,)], ids=["the database has all", "an epoch waits"])
def test_a_state_is_dropped_once_the_database_has_all_of_it(unwritten: tuple[int, ...]) -> None:
    context, outbox = Mock(), Mock()
    outbox.unwritten.return_value = epochs(*unwritten)
    keeper = CheckpointKeeper(context, cast(Any, Mock()), outbox)
    keeper.adopt(Unsent(2, epochs(2), b"state"))
    keeper.after_epoch(Mock())
    assert keeper.save_on_this_machine(()) is bool(unwritten)
    assert context.unsent.keep.called is bool(unwritten)
