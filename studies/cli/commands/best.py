"""`caviar best`: the winner; whether it is better than the runner-up, or was luckier; and its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.commands.data import data_folder
from caviar.studies.cli.options import DataDir, StoredStudy
from caviar.studies.cli.output import AsJson, DatabaseUrl, database, err, out, print_json, say, tell
from caviar.studies.cli.work import check_and_fetch
from caviar.studies.results.formatting import number, to_json

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from caviar.storage.records import StudyRecord
    from caviar.studies.results.winner import Winner
    from caviar.studies.workers.local.signals import Stop


def best(
    study: StoredStudy,
    confirm: Annotated[
        int | None,
        typer.Option(
            min=2, max=1000, metavar="N", show_default=False,
            help="Train it and the runner-up so many times with fresh seeds, and say which is better.",
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FOLDER", help="Write its weights and how to load them there.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> int:  # fmt: skip
    """Show the best trial: its hyperparameters, validation accuracy, and test accuracy once it was measured.

    With --confirm it is compared with the best trial of another configuration. Trainings that are there already count;
    Ctrl-C keeps those that are finished, and the same command goes on.

    Examples: caviar best digits --json, caviar best digits --confirm 5, caviar best digits --save digits-model
    """
    from caviar.storage.definitions import load_study
    from caviar.storage.pandas import is_panda
    from caviar.studies.workers.local.signals import Stop

    with database(database_url) as engine:
        record = load_study(engine, study)
        if confirm is not None:
            with Stop() as stop:
                if not _confirm(engine, record, confirm, data_folder(data_dir), stop):
                    told = f"stopped; what is finished is kept; go on with: caviar best {study} --confirm {confirm}"
                    (say if as_json else tell)(told)
                    return 130 if stop.interrupted else 0
        facts, one_model = winner(engine, record), is_panda(engine, record.study_id)
        if save is not None:
            from caviar.studies.results.model_files import save_winner

            save_winner(engine, record, facts, save, data_folder(data_dir))
            say(f"the winner is in {save}: model.pt, config.json and load.py, which shows how to use them")
    if as_json:
        print_json(to_json(facts))
    elif facts is None:
        out().print(f"no trial of '{study}' is complete yet; go on with: caviar run {study}")
    else:
        print_winner(facts)
        step = "report {0} --open" if facts.confirmation or one_model else "best {0} --confirm 5  (or was it luck?)"
        tell(f"\nnext: caviar {step.format(study)}", style="dim", markup=False)
    return 0


def winner(engine: Engine, record: StudyRecord) -> Winner | None:
    """Return what there is to say about the best trial, or None where there is none yet."""
    from caviar.studies.results.winner import read_winner

    return read_winner(engine, record)


def print_winner(facts: Winner) -> None:
    """Print the winner: its accuracy first, then how it was reached."""
    out().print(f"[bold]winner: trial {facts.trial}[/] of {facts.study} (tier {facts.tier}, {facts.phase})")
    test = facts.test
    measured = f"{test.accuracy:.4f}  (measured once)" if test else "measured when the study is done"
    validation = facts.validation
    out().print(f"  validation accuracy  [green]{validation.accuracy:.4f}[/]  (loss {validation.loss:.4g})")
    if expected := facts.expected:
        out().print(
            f"  if trained again     {number(expected.value)} is expected, on average {number(expected.low)} to "
            f"{number(expected.high)} (90 %)"
        )
    out().print(f"  test accuracy        [green]{measured}[/]")
    width = max(map(len, facts.hyperparameters), default=0)
    for name, value in facts.hyperparameters.items():
        out().print(f"  {name:<{width}}  {number(value)}", markup=False)  # a choice may be [/relu]
    if facts.confirmation:
        from caviar.studies.results.confirmation import in_words

        tell(f"  {in_words(facts.confirmation)}", markup=False)


def _confirm(engine: Engine, record: StudyRecord, count: int, data_dir: Path, stop: Stop) -> bool:
    """Train the winner and the runner-up again, then measure the winner on the test set if that was not done; False
    where this process was asked to stop.

    Raises:
        NothingToDo: there is no winner, or nothing else.
        MachineMismatch: this machine would train something else than the study did.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from caviar.studies.lifecycle.manager import definition_of, progress, refuse_panda
    from caviar.studies.lifecycle.provenance import provenance_of, refuse_other
    from caviar.studies.results.summaries import state_of
    from caviar.studies.results.winner import conclude, finalists

    refuse_panda(engine, record)
    study, found = definition_of(record), finalists(engine, record)
    check_and_fetch(study, data_dir, "looking at the study")
    refuse_other(record, provenance_of(study, data_dir))
    from caviar.studies.results.retraining import TrainingAgain

    again = TrainingAgain(engine, record, found, count, data_dir, lambda: stop.asked)
    if again.missing:
        say(f"training trial {found[0]}, the winner, and trial {found[1]}, the runner-up, again: "
            f"{len(again.missing)} trainings of {study.epochs} epochs on {again.device}")  # fmt: skip
    columns = (TextColumn("trained"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True, disable=not err().is_terminal) as bar:
        task = bar.add_task("", total=len(again.missing))
        if not again.run(lambda done: bar.update(task, completed=done)):
            return False
    if state_of(progress(engine, record)) != "done":
        return True
    return again.outage.insist(lambda: conclude(engine, record, data_dir, lambda: stop.asked))
