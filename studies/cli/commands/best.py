"""`caviar best`: the winner, whether it is better than the runner-up or was luckier, and its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import caviar
from caviar.studies.cli.options import AsJson, Database, DataDir, StoredStudy
from caviar.studies.cli.output import err, out, print_json, print_line, print_remark
from caviar.studies.cli.steps import print_steps
from caviar.studies.cli.winner import print_winner

if TYPE_CHECKING:
    from sqlalchemy import Engine


def best(
    study: StoredStudy,
    confirm: Annotated[
        int | None,
        typer.Option(
            min=2, max=1000, metavar="N", show_default=False,
            help="Train it and the runner-up N times with fresh seeds, and show which is better.",
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FOLDER", help="Write its weights and how to load them there.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database: Database = None,
) -> int:  # fmt: skip
    """Show the best trial: its hyperparameters, validation accuracy, and test accuracy once it was measured.

    With --confirm it is compared with the best trial of another configuration. Earlier trainings count;
    Ctrl-C keeps those that are finished, and the same command goes on.

    Examples: caviar best digits --json, caviar best digits --confirm 5, caviar best digits --save digits-model

    In Python: caviar.best("digits"), caviar.confirm("digits", times=5), caviar.save("digits", "digits-model")
    """
    with caviar.connect(database) as engine:
        if confirm is not None:
            code = _confirm(study, confirm, data_dir, engine, quiet=as_json)
            if code is not None:
                return code
        if save is not None:
            caviar.save(study, save, on_warning=_warn, data_dir=data_dir, database=engine)
            has_weights = (save / "config.json").exists() and (save / "load.py").exists()  # else it is a command's own
            what = ": its weights, config.json, and load.py, which shows how to use both"
            print_remark(f"the winner is in {save}{what if has_weights else ''}")
        if as_json:
            print_json(caviar.best(study, database=engine))
            return 0
        from caviar.studies.api.standing import best_and_next_steps

        winner, steps = best_and_next_steps(study, database=engine)
    if winner is None:
        out().print(f"no trial of '{study}' is complete yet")
    else:
        print_winner(winner)
    print_steps(steps)
    return 0


def _warn(warning: str) -> None:
    print_remark(f"warning: {warning}")


def _confirm(study: str, times: int, data_dir: Path | None, engine: Engine, *, quiet: bool) -> int | None:
    """Confirm the winner with a progress bar, `quiet` if stdout is for JSON alone; return a code if interrupted."""
    columns = (TextColumn("trained"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True, disable=not err().is_terminal) as bar:
        task = bar.add_task("", total=None)

        def on_progress(now: caviar.Retraining) -> None:
            if now.done == 0:
                epochs = "" if now.epochs is None else f" of {now.epochs} epochs"
                print_remark(
                    f"training trial {now.winner}, the winner, and trial {now.runner_up}, the runner-up, again: "
                    f"{now.total} trainings{epochs} on {now.device}"
                )
            bar.update(task, completed=now.done, total=now.total)

        try:
            confirmed = caviar.confirm(study, times, on_progress=on_progress, data_dir=data_dir, database=engine)
        except KeyboardInterrupt:
            code = 130
        else:
            if confirmed is not None:
                return None
            code = 0
    line = f"stopped; what is finished is kept; go on with: caviar best {study} --confirm {times}"
    (print_remark if quiet else print_line)(line)
    return code
