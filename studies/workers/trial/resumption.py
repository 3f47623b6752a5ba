"""Resume a training from its checkpoint, or begin it anew if there is none that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from caviar.models.checkpoint import from_bytes
from caviar.models.data import Data
from caviar.models.errors import BadCheckpoint
from caviar.models.training import Training
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.errors import DamagedCheckpoint
from caviar.studies.definition import Study
from caviar.studies.space.base import Value
from caviar.studies.workers.trial.build import assemble


class LoadedCheckpoint(NamedTuple):
    """A checkpoint as it was read: its bytes, or why they are refused; neither if there is none."""

    state: bytes | None = None
    refused: str | None = None


def load_checkpoint(store: CheckpointStore, number: int) -> LoadedCheckpoint:
    """Read a trial's checkpoint from the database."""
    try:
        return LoadedCheckpoint(store.load(number))
    except DamagedCheckpoint as error:
        return LoadedCheckpoint(refused=str(error))


def resume(
    study: Study, number: int, values: Mapping[str, Value], data: Data, checkpoint: LoadedCheckpoint
) -> tuple[Training, str | None]:
    """Return a trial's training, and why its checkpoint was refused, if it was."""
    if checkpoint.state is not None:
        try:
            state = from_bytes(checkpoint.state, data.training.y.device)
            return assemble(study, number, values, data, state), None
        except BadCheckpoint as error:
            return assemble(study, number, values, data), str(error)
    return assemble(study, number, values, data), checkpoint.refused
