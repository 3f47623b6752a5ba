"""Resume a training from its checkpoint, or begin it anew if there is none that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from caviar.models.checkpoint import from_bytes
from caviar.models.errors import BadCheckpoint
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.errors import DamagedCheckpoint
from caviar.studies.definition import Study
from caviar.studies.space.base import Value
from caviar.studies.way import Way
from caviar.studies.workers.trial.build import Bench, make_training
from caviar.studies.workers.trial.training import TrialTraining
from caviar.studies.workers.user.loop_training import LoopTraining


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


def state_after(checkpoint: LoadedCheckpoint, epoch: int) -> dict[str, Any] | None:
    """Return a checkpoint's state, on the CPU, if it is that after `epoch`; None if it is another, or none."""
    try:
        state = from_bytes(checkpoint.state, torch.device("cpu")) if checkpoint.state is not None else None
    except BadCheckpoint:  # the training is resumed without it, and says why
        return None
    return state if state is not None and state.get("epoch") == epoch else None


def resume(
    study: Study, number: int, values: Mapping[str, Value], bench: Bench, checkpoint: LoadedCheckpoint
) -> tuple[TrialTraining, str | None]:
    """Return a trial's training, and why its checkpoint was refused, if it was."""
    if checkpoint.state is not None:
        try:
            # An object of the user's own puts its state where it belongs; random states, say, stay on the CPU.
            device = bench.device if study.way is Way.MODEL else torch.device("cpu")
            state = from_bytes(checkpoint.state, device)
            training = make_training(study, number, values, bench, state)
            return training, training.refused if isinstance(training, LoopTraining) else None
        except BadCheckpoint as error:
            return make_training(study, number, values, bench), str(error)
    return make_training(study, number, values, bench), checkpoint.refused
