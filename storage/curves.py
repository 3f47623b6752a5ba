"""What was measured in a whole study, for whoever looks at all of it: every learning curve, every trial's times, and
what was measured on the test set."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select, text

from caviar.epoch import Epoch
from caviar.storage.tables import epoch, test_result

_TIMES = text("""
    SELECT s.number, t.datetime_start AT TIME ZONE 'UTC' AS began, t.datetime_complete AT TIME ZONE 'UTC' AS ended
    FROM caviar.slot s JOIN public.trials t ON t.trial_id = s.trial_id
    WHERE s.study_id = :study ORDER BY s.number
""")


@dataclass(frozen=True)
class TrialTimes:
    """When a trial began, and when it ended; None while it runs."""

    began: datetime
    ended: datetime | None


def read_curves(engine: Engine, study_id: int) -> dict[int, list[Epoch]]:
    """Return the epochs of all trials of a study, by slot and in their order."""
    columns = (epoch.c.slot, epoch.c.epoch, epoch.c.training_loss, epoch.c.validation_loss, epoch.c.accuracy,
               epoch.c.learning_rate, epoch.c.seconds)  # fmt: skip
    query = select(*columns).where(epoch.c.study_id == study_id).order_by(epoch.c.slot, epoch.c.epoch)
    found: dict[int, list[Epoch]] = defaultdict(list)
    with engine.connect() as connection:
        for row in connection.execute(query):
            found[row[0]].append(Epoch(*row[1:]))
    return dict(found)


def read_times(engine: Engine, study_id: int) -> dict[int, TrialTimes]:
    """Return when the trials of a study began and ended, by slot."""
    with engine.connect() as connection:
        return {row.number: TrialTimes(row.began, row.ended) for row in connection.execute(_TIMES, {"study": study_id})}


def read_tests(engine: Engine, study_id: int) -> dict[int, tuple[float, float]]:
    """Return loss and accuracy (0 to 1) on the test set of the trials whose models were measured, by slot."""
    query = select(test_result.c.slot, test_result.c.loss, test_result.c.accuracy)
    with engine.connect() as connection:
        rows = connection.execute(query.where(test_result.c.study_id == study_id))
        return {row.slot: (row.loss, row.accuracy) for row in rows}
