"""Use the results of a study: write its report, export it, save the winner's weights, and train the winner again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from caviar.storage.pandas import is_panda
from caviar.storage.records import StudyRecord
from caviar.studies.api.session import connect, data_folder, opened, watching
from caviar.studies.dashboard.note import leave_note
from caviar.studies.errors import ExtraMissing, OptionError
from caviar.studies.lifecycle.manager import definition_of, progress, refuse_panda
from caviar.studies.lifecycle.provenance import provenance_of, refuse_other
from caviar.studies.panda.journal import read_journal
from caviar.studies.panda.page import panda_page
from caviar.studies.panda.records import Journal
from caviar.studies.results.atomic_write import atomic_write
from caviar.studies.results.export.targets import export_study
from caviar.studies.results.summaries import StudyState, state_of
from caviar.studies.workers.local.preparation import check_and_fetch, fetch_data, find_user_modules
from caviar.studies.workers.local.signals import Stop

if TYPE_CHECKING:
    from caviar.studies.results.report.records import Report
    from caviar.studies.results.winner import Winner


def report(study: str, *, file: str | Path | None = None, database: str | Engine | None = None) -> Report | Journal:
    """Return everything that a report says of a study, or the journal of a panda; and write it as a page.

    Args:
        file: where to write the page, one HTML file that loads nothing from a network; None writes none.

    Raises:
        ExtraMissing: the package of the page's pictures is not installed.
        OutputError: the file cannot be written.

    Examples:
        >>> caviar.report("digits", file="digits.html").answers
    """
    from caviar.studies.results.report.page import page
    from caviar.studies.results.report.reading import read_report

    with opened(study, database) as (engine, record):
        panda = is_panda(engine, record.study_id)
        contents = read_journal(engine, record) if panda else read_report(engine, record)
    if file is not None:
        try:
            text = panda_page(contents) if isinstance(contents, Journal) else page(contents)
        except ModuleNotFoundError as error:
            raise ExtraMissing("the page", error, "report") from error
        with atomic_write(Path(file), "-o") as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    return contents


def export(study: str, to: str | Path, *, epochs: bool = False, database: str | Engine | None = None) -> str:
    """Write a study's trials, or its epochs, for other programs.

    Args:
        to: a file whose suffix names the format, such as `trials.csv`, or a service, such as `mlflow:URI`; the help of
            `caviar export` has all.
        epochs: write a row for each epoch to the file, instead of each trial.

    Returns:
        A sentence that says where it is, and how to look at it.

    Raises:
        OutputError: there is no such target, or it cannot be written.
        NothingToDo: no trial has begun.
        ExtraMissing: the package that the target needs is not installed.

    Examples:
        >>> caviar.export("digits", "trials.csv")
    """
    with opened(study, database) as (engine, record):
        return export_study(engine, record, str(to), epochs=epochs)


def save(
    study: str, folder: str | Path, *, on_warning: Callable[[str], None] | None = None,
    data_dir: str | Path | None = None, database: str | Engine | None = None,
) -> Winner:  # fmt: skip
    """Write the weights of a study's winner, and how to load them, into a new folder.

    Args:
        folder: the folder to make; it gets model.pt (a state_dict), or for a `train=` study states.pt (one of each
            object in `trial.keep`), config.json, and the example load.py, which needs PyTorch and the user's own code,
            but not Caviar.
        on_warning: called with a sentence if the code here is not that which trained the winner; load.py compares the
            code that it finds with that of now, too.

    Returns:
        The winner.

    Raises:
        NothingToDo: there is no winner, its weights are not kept, or the folder exists.
        OutputError: the folder cannot be made.
        DataUnavailable: the data are not here, by whose mean and deviation the inputs are normalised.

    Examples:
        >>> caviar.save("digits", "digits-model")
    """
    from caviar.studies.results.model_files import save_winner  # which loads PyTorch
    from caviar.studies.results.winner import read_winner

    with opened(study, database) as (engine, record):
        winner = read_winner(engine, record)
        warning = save_winner(engine, record, winner, Path(folder), data_folder(data_dir))
    if warning is not None and on_warning is not None:
        on_warning(warning)
    assert winner is not None  # or it had raised
    return winner


@dataclass(frozen=True)
class Retraining:
    """The progress of `confirm`.

    Attributes:
        winner, runner_up: the numbers of the trials that are trained again.
        done: trainings that are finished, of `total`, with the share of those that run.
        epochs: the length of each training; None where an objective does not say it.
        device: `cpu` or `cuda`.
    """

    winner: int
    runner_up: int
    done: float
    total: int
    epochs: int | None
    device: str


def confirm(
    study: str,
    times: int = 5,
    *,
    on_progress: Callable[[Retraining], None] | None = None,
    data_dir: str | Path | None = None,
    database: str | Engine | None = None,
) -> Winner | None:
    """Train the winner and the runner-up again with fresh seeds, to see whether the winner is better or was lucky.

    Trainings that are in the database already count. If the study is done, and its winner was not measured on the
    test set yet, that is done as well.

    Args:
        times: trainings of each of the two, 2 at least.
        on_progress: called before the first training and after each epoch.

    Returns:
        The winner with its `confirmation`; None if this process was asked to stop by SIGTERM.

    Raises:
        OptionError: `times` is below 2.
        NothingToDo: the study has no two trials to compare.
        NotComparable: the study is a panda.
        MachineMismatch: this machine would train something else than the study did.
        KeyboardInterrupt: Ctrl-C ended it; finished trainings are kept, and the same call goes on.

    Examples:
        >>> caviar.confirm("digits", times=5).confirmation.verdict
    """
    if times < 2:
        raise OptionError(f"{times} training(s) of each show no noise: give 2 or more")
    with Stop() as stop, connect(database) as engine, opened(study, engine) as (_, record):
        winner = _confirm(engine, record, times, data_folder(data_dir), stop, on_progress or (lambda _: None))
    if winner is None and stop.interrupted:
        raise KeyboardInterrupt
    return winner


def _confirm(
    engine: Engine,
    record: StudyRecord,
    times: int,
    data_dir: Path,
    stop: Stop,
    on_progress: Callable[[Retraining], None],
) -> Winner | None:
    """Do what `confirm` does; return None if this process was asked to stop."""
    from caviar.studies.results.conclusion import conclude
    from caviar.studies.results.report.reading import read_winner_and_steps
    from caviar.studies.results.retraining import FreshTrainings  # which loads PyTorch
    from caviar.studies.results.winner import finalists

    outage = watching(lambda: stop.asked)
    outage.insist(lambda: refuse_panda(engine, record))
    definition, (winner, runner_up) = definition_of(record), outage.insist(lambda: finalists(engine, record))
    find_user_modules()
    fetch_data(definition, data_dir)
    refuse_other(record, provenance_of(definition, data_dir, run=False))
    check_and_fetch(definition, data_dir)
    refuse_other(record, provenance_of(definition, data_dir))

    trainings = outage.insist(
        lambda: FreshTrainings(engine, record, (winner, runner_up), times, data_dir, lambda: stop.asked, outage)
    )

    def progressed(done: float) -> None:
        of = (len(trainings.missing), definition.epochs, trainings.device)
        on_progress(Retraining(winner, runner_up, done, *of))

    if trainings.missing:
        progressed(0)
    if not trainings.run(progressed):
        return None
    is_done = state_of(outage.insist(lambda: progress(engine, record))) == StudyState.DONE
    if is_done and not conclude(engine, record, data_dir, lambda: stop.asked, outage):
        return None
    current, steps = outage.insist(lambda: read_winner_and_steps(engine, record))
    if is_done:
        leave_note(engine, record, current, steps)
    return current
