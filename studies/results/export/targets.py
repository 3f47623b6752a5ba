"""Find the target that `--to` names, and export a study to it.

A target is a module `to_….py` of this folder with a list `TARGETS`. A new one costs that file: nothing names it here.
Such a module imports the database's packages in its functions: the help of `caviar export` asks each for its forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from caviar.studies.errors import NothingToDo, OutputError
from caviar.studies.results.formatting import without_password

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from caviar.storage.records import StudyRecord
    from caviar.studies.definition import Study
    from caviar.studies.results.export.rows import ExportedTrial

_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@dataclass(frozen=True)
class Export:
    """A study as a target gets it: its trials by number, with their curves where the target writes epochs."""

    record: StudyRecord
    study: Study
    trials: Sequence[ExportedTrial]
    epochs: bool


@dataclass(frozen=True)
class Target:
    """A place that a study can be exported to, and a function that does that and returns in a sentence where it is.

    `form` is the suffix of a file, such as `.csv`, or a scheme, such as `mlflow:URI`.
    """

    form: str
    write: Callable[[Export, str], str]

    @property
    def is_file(self) -> bool:
        """Whether it is a kind of file: those have a row for each trial or each epoch; a service has both."""
        return self.form.startswith(".")


def export_study(engine: Engine, record: StudyRecord, to: str, *, epochs: bool = False) -> str:
    """Write a study's trials for other programs; return in a sentence where they are.

    Args:
        to: a file with the suffix of a file format, or `SCHEME:PLACE` of a service.
        epochs: write a row for each epoch instead of each trial; for files.

    Raises:
        OutputError: nothing can be written there, or `epochs` is given for a service, which has every epoch anyway.
        NothingToDo: no trial has begun yet, which a service has a run for.
        ExtraMissing: the package that writes it is not installed.
    """
    from caviar.studies.lifecycle.manager import definition_of
    from caviar.studies.results.export.rows import read_exported

    if to in _STDOUT:
        printing = f"curves {record.name} --json" if epochs else f"trials {record.name} --csv"
        raise OutputError(f"--to {to}: give {forms()}; what prints to stdout is: caviar {printing}")
    target, place = _find(to)
    if epochs and not target.is_file:
        scheme = target.form.partition(":")[0]
        raise OutputError(f"--epochs is for files; {scheme} has every epoch anyway: leave it out")
    trials = read_exported(engine, record, epochs=epochs or not target.is_file)
    if not target.is_file and all(t.began is None for t in trials):
        raise NothingToDo(f"no trial of '{record.name}' has begun yet; go on with: caviar join {record.name}")
    return target.write(Export(record, definition_of(record), trials, epochs), place)


def _find(to: str) -> tuple[Target, str]:
    targets = _targets()
    scheme, _, place = to.partition(":")
    for target in targets:
        if target.is_file and Path(to).suffix.lower() == target.form:
            return target, to
        if place and target.form.partition(":")[0] == scheme:
            return target, place
    raise OutputError(f"--to {without_password(to)}: give {forms()}")


def forms() -> str:
    """Return in words what a study can be exported to."""
    targets = _targets()
    files = ", ".join(target.form for target in targets if target.is_file)
    services = " or ".join(target.form for target in targets if not target.is_file)
    return f"a file that ends in {files}, or {services}"


def _targets() -> list[Target]:
    here = __package__
    names = [module.name for module in iter_modules([str(Path(__file__).parent)]) if module.name.startswith("to_")]
    return [target for name in names for target in import_module(f"{here}.{name}").TARGETS]
