"""Fresh trainings of trials: the metric that each came to, as events of their study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from caviar.storage.events import log_event, read_events
from caviar.storage.states import EventKind

Trainings = dict[int, dict[int, float]]  # the metric after the last epoch, by trial and by the training's number


def read_trainings(engine: Engine, study_id: int) -> Trainings:
    """Return the results of a study's fresh trainings; where two machines made the same one, the first result."""
    trainings: Trainings = defaultdict(dict)
    for event in read_events(engine, study_id, EventKind.TRAINED_AGAIN):
        if event.slot is not None:
            trainings[event.slot].setdefault(event.detail["training"], event.detail["value"])
    return dict(trainings)


def write_trainings(engine: Engine, study_id: int, values: Mapping[tuple[int, int], float], **detail: Any) -> None:
    """Record the results of trainings, by trial and training, as events with more `detail`: all of them or none."""
    kind = EventKind.TRAINED_AGAIN
    with engine.begin() as connection:
        for (trial, training), value in values.items():
            log_event(connection, study_id, kind, slot=trial, training=training, value=value, **detail)
