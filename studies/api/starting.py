"""Begin a project: write a study file, the settings and a page of what to do next."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path

from caviar.epoch import ACCURACY, VALIDATION_LOSS
from caviar.limits import EPOCHS, NAME, STUDY_NAME, TRIALS
from caviar.studies.errors import OptionError, OutputError
from caviar.studies.lifecycle.starter import SETTINGS, Choices, next_page, study_file
from caviar.studies.metric import check_metric, direction_of
from caviar.studies.way import Way
from caviar.text import flaw, shown

_METRICS = {Way.MODEL: ACCURACY, Way.OBJECTIVE: "value"}  # by default; of the other ways a loss


@dataclass(frozen=True)
class NewProject:
    """The files that `init` wrote: the study's, an example of settings, and a page of what to do next."""

    name: str
    study: Path
    settings: Path
    page: Path


def init(
    folder: str | Path = ".",
    *,
    way: Way | str = Way.TRAIN,
    name: str | None = None,
    file: str = "tune.py",
    metric: str | None = None,
    direction: str | None = None,
    epochs: int = 20,
    budget: int = 30,
    data: str = "digits",
    command: str = "python train.py {args}",
) -> NewProject:
    """Write a study file, an example of settings, and a page of what to do next, into a new or existing project.

    Nothing is overwritten: if one of them is there already, none is written.

    Args:
        folder: the project's folder, which is made if it is not there.
        way: `train` for a training function of your own, `objective` for one of Optuna's, `command` for a program, or
            `model` for a network that Caviar's own loop trains.
        name: the study's; None for the folder's name.
        file: the name of the study's file.
        metric: what is searched by; None for `accuracy` of a model, `value` of an objective, and else `loss`.
        direction: `maximize` or `minimize`; None for what the metric's name says, or else `minimize`.
        epochs: of a trial.
        budget: number of trials; 3 at least.
        data: of a model, by name or path.
        command: of the way `command`.

    Raises:
        OptionError: an option is out of its range, or there is no such way.
        OutputError: a file is there already, or cannot be written.

    Examples:
        >>> caviar.init("shop", way="train", metric="rmse", direction="minimize")
    """
    chosen = _choices(Path(folder), way, name, file, metric, direction, epochs, budget, data, command)
    texts = {file: study_file(chosen), ".env.example": SETTINGS, "CAVIAR.md": next_page(chosen)}
    paths = [Path(folder) / each for each in texts]
    for path in paths:
        if os.path.lexists(path):
            raise OutputError(
                f"{path} is there already, and nothing was written; move it, or give another "
                f"{'--file' if path.name == file else 'folder'}"
            )
    written = list[Path]()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, texts.values(), strict=True):
            with path.open("x", encoding="utf-8") as opened:
                written.append(path)
                opened.write(text)
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise OutputError(
            f"{error.filename or folder} cannot be written: {error.strerror}; give another folder"
        ) from error
    return NewProject(chosen.name, *paths)


def _choices(
    folder: Path, way: Way | str, name: str | None, file: str, metric: str | None, direction: str | None, epochs: int,
    budget: int, data: str, command: str,
) -> Choices:  # fmt: skip
    """Check what a person has chosen, and fill in what is left out."""
    if way not in list(Way):
        raise OptionError(f"--way {shown(way)}: give {', '.join(Way)}")
    way, module = Way(way), file.removesuffix(".py")
    if not file.endswith(".py") or not module.isidentifier():
        raise OptionError(f"--file {shown(file)}: give a name that Python can import, such as tune.py")
    name = name or re.sub(r"[^A-Za-z0-9_.-]+|^[^A-Za-z0-9]+", "-", folder.absolute().name).strip("-._")[:NAME] or "mine"
    if not re.fullmatch(STUDY_NAME, name):
        raise OptionError(f"--name {shown(name)}: give letters, digits, dot, dash and underscore, at most {NAME}")
    metric = metric or _METRICS.get(way, "loss")
    if way is Way.TRAIN and (not metric.isidentifier() or iskeyword(metric)):
        raise OptionError(f"--metric {shown(metric)}: give a name that Python takes as a keyword, such as rmse")
    guessed = direction_of(metric) or "minimize"
    if direction not in (None, "maximize", "minimize"):
        raise OptionError(f"--direction {shown(direction)}: give maximize or minimize")
    metric = VALIDATION_LOSS if metric == "loss" and way is Way.MODEL else metric
    check_metric(metric, direction or guessed, of_model=way is Way.MODEL)
    for option, given, least, most in (("epochs", epochs, 1, EPOCHS), ("budget", budget, 3, TRIALS)):
        if not least <= given <= most:
            raise OptionError(f"--{option} {given}: give {least} to {most:,}")
    for option, text in (("data", data), ("command", command)):
        if not text.strip() or flaw(text):
            raise OptionError(f"--{option} {flaw(text) or 'is empty'}: give one line of text")
    return Choices(way, name, module, metric, direction or guessed, epochs, budget, data, command)
