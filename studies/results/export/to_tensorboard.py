"""A study for TensorBoard: a run for each trial, with its curve, its hyperparameters and what it came to."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

from caviar.studies.errors import ExtraMissing, NothingToDo
from caviar.studies.results.atomic_write import beside
from caviar.studies.results.export.rows import ExportedTrial


def write_tensorboard(trials: list[ExportedTrial], folder: Path) -> int:
    """Write the trials that have begun into a new folder; return how many.

    The curves stand over the time at which they were trained, too.

    Raises:
        ExtraMissing: tensorboard is not installed.
        NothingToDo: the folder is there already; TensorBoard would show both exports as one.
        OutputError: it cannot be written.
    """
    try:
        from torch.utils.tensorboard.summary import hparams
        from torch.utils.tensorboard.writer import FileWriter, SummaryWriter
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"this needs {error.name}: pip install -e '.[tensorboard]'") from error
    if folder.exists():
        raise NothingToDo(f"'{folder}' is there already; name a new folder, or remove it")
    begun = [t for t in trials if t.facts["began"] is not None]
    with beside(folder, "--to") as unfinished:
        unfinished.mkdir()
        for trial in begun:
            began, facts = trial.facts["began"].timestamp(), trial.facts
            results = {n: facts[n] for n in ("value", "test_accuracy", "test_loss") if facts[n] is not None}
            with SummaryWriter(str(unfinished / f"trial-{facts['trial']:05d}")) as writer:
                file: FileWriter = writer._get_file_writer()
                # As add_hparams has it, which would put them into a run of their own, beside the curve.
                for summary in hparams(dict(trial.hyperparameters), results):  # type: ignore[no-untyped-call]
                    file.add_summary(summary)
                clock = accumulate((e.seconds for e in trial.curve), initial=began)
                next(clock)
                for e, at in zip(trial.curve, clock, strict=True):
                    writer.add_scalar("loss/training", e.training_loss, e.epoch, at)
                    writer.add_scalar("loss/validation", e.validation_loss, e.epoch, at)
                    writer.add_scalar("accuracy/validation", e.accuracy, e.epoch, at)
                    writer.add_scalar("learning_rate", e.learning_rate, e.epoch, at)
                for name, value in results.items():
                    writer.add_scalar(name, value, facts["epochs"], (facts["ended"] or facts["began"]).timestamp())
    return len(begun)
