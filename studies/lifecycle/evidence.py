"""What a database knows of the noise of a study's trainings beside its trials: fresh trainings, and how many examples
its metric is measured on."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine

from caviar.models.data_sets import DATA_SETS, Sizes
from caviar.storage.events import read_events
from caviar.storage.states import EventKind
from caviar.storage.trainings import read_trainings
from caviar.studies.definition import Study
from caviar.studies.search.noise import Evidence


def read_evidence(engine: Engine, study_id: int, study: Study) -> Evidence:
    """Return what is known of the noise of a study's trainings beside its trials."""
    is_accuracy = study.metric == "accuracy"
    examples = read_sizes(engine, study_id, study).get("validation") if is_accuracy else None
    return Evidence(read_trainings(engine, study_id), examples)


def read_sizes(engine: Engine, study_id: int, study: Study) -> Mapping[str, int]:
    """Return how many examples each part of a study's data has, those of which that is known."""
    if known := DATA_SETS.get(study.data or ""):
        sizes: Mapping[str, object] = known.sizes._asdict()
    else:
        read = read_events(engine, study_id, EventKind.DATA_READ, last=1) if study.data else []
        sizes = read[0].detail if read else {}
    return {part: size for part in Sizes._fields if isinstance(size := sizes.get(part), int)}
