"""Export to TensorBoard: a run for each trial, with its curve, its hyperparameters and its results."""

from __future__ import annotations

from pathlib import Path

from caviar.epoch import ACCURACY, TRAINING_LOSS, VALIDATION_LOSS
from caviar.studies.errors import ExtraMissing, NothingToDo
from caviar.studies.results.atomic_write import atomic_write
from caviar.studies.results.export.targets import Export, Target

# TensorBoard draws tags with the same first part beside one another.
_TAGS = {TRAINING_LOSS: "loss/training", VALIDATION_LOSS: "loss/validation", ACCURACY: "accuracy/validation"}


def _export(export: Export, to: str) -> str:
    """Write the trials that have begun into a new folder, with the times at which their epochs were trained.

    Raises:
        ExtraMissing: tensorboard is not installed.
        NothingToDo: the folder exists; TensorBoard would show both exports as one.
        OutputError: the folder cannot be written.
    """
    folder = Path(to)
    try:
        from torch.utils.tensorboard.summary import hparams
        from torch.utils.tensorboard.writer import FileWriter, SummaryWriter
    except ModuleNotFoundError as error:
        raise ExtraMissing("this", error, "tensorboard") from error
    if folder.exists():
        raise NothingToDo(f"'{folder}' is there already; name a new folder, or remove it")
    begun = [(t, t.began) for t in export.trials if t.began is not None]
    with atomic_write(folder, "--to") as unfinished:
        unfinished.mkdir()
        for trial, began in begun:
            with SummaryWriter(str(unfinished / f"trial-{trial.trial:05d}")) as writer:
                file: FileWriter = writer._get_file_writer()
                # As add_hparams has it, which would put them into a run of their own, beside the curve.
                for summary in hparams(dict(trial.hyperparameters), trial.results):  # type: ignore[no-untyped-call]
                    file.add_summary(summary)
                for e, at in trial.timed_epochs():
                    for name, value in e.metrics.items():
                        writer.add_scalar(_TAGS.get(name, name), value, e.epoch, at)
                for name, value in trial.results.items():
                    writer.add_scalar(name, value, trial.epochs, (trial.ended or began).timestamp())
    return f"{len(begun)} trials are in {folder}; look at them with: tensorboard --logdir {folder}"


TARGETS = [Target("tensorboard:FOLDER", _export)]
