"""`caviar pause`, `resume`, `stop`, `kill` and `extend`: steer the workers of all machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import caviar
from caviar.studies.cli.options import Database, StoredStudy
from caviar.studies.cli.output import print_line

if TYPE_CHECKING:
    from caviar.studies.api.changing import ControlChange

AtOnce = Annotated[
    bool, typer.Option("--now", help="Without waiting for the epoch, which is trained again from the last checkpoint.")
]


def pause(study: StoredStudy, now: AtOnce = False, database: Database = None) -> None:
    """Let the workers of all machines give their trials back after the current epoch, and wait.

    They free their GPUs until: caviar resume. Example: caviar pause digits

    In Python: caviar.pause("digits")
    """
    change = caviar.pause(study, now=now, database=database)
    _print_change(study, change, "paused", f"go on with: caviar resume {study}", _moment(now))


def stop(study: StoredStudy, now: AtOnce = False, database: Database = None) -> None:
    """Let the workers of all machines give their trials back after the current epoch, and exit.

    Nothing is lost. Example: caviar stop digits --now

    In Python: caviar.stop("digits", now=True)
    """
    change = caviar.stop(study, now=now, database=database)
    step = f"go on with: caviar resume {study}, and caviar join {study}"
    _print_change(study, change, "stopped", step, _moment(now))


def resume(study: StoredStudy, database: Database = None) -> None:
    """Let a paused or stopped study go on; workers that wait for it take up its trials.

    Example: caviar resume digits

    In Python: caviar.resume("digits")
    """
    change = caviar.resume(study, database=database)
    _print_change(study, change, "active", f"more machines with: caviar join {study}")


def kill(
    study: StoredStudy,
    trial: Annotated[int, typer.Argument(min=0, help="The number of a trial (see: caviar status STUDY).")],
    database: Database = None,
) -> None:
    """End one trial after its current epoch, as if it had been pruned; its slot of the budget is spent.

    Example: caviar kill digits 17

    In Python: caviar.kill("digits", 17)
    """
    ended = caviar.kill(study, trial, database=database)
    print_line(
        f"trial {trial} is ended" if ended else f"trial {trial} ends after its epoch; see: caviar status {study}"
    )


def extend(
    study: StoredStudy,
    budget: Annotated[int, typer.Option(min=1, metavar="N", help="The new number of trials in all.")],
    database: Database = None,
) -> None:
    """Give a study a larger budget; running workers notice it by themselves.

    Example: caviar extend digits --budget 80

    In Python: caviar.extend("digits", budget=80)
    """
    status = caviar.extend(study, budget, database=database)
    first = f"caviar resume {study}, and " if status.state in ("paused", "stopped") else ""
    print_line(f"'{study}' has {budget} trials now, of which {status.done} are done; "
               f"go on with: {first}caviar join {study}")  # fmt: skip


def _print_change(study: str, change: ControlChange, state: str, step: str, when: str = "") -> None:
    """Print what a change of control led to, how to go on, and when workers give their trials back, if they do."""
    if change.done:
        print_line(f"'{study}' is done; nothing was changed; see: caviar best {study}")
        return
    if change.is_panda:
        step = f"go on with: caviar panda train {study}"
    if not change.changed:
        print_line(f"'{study}' is already {state}; {step}")
        return
    back = f"; {change.leased} trial(s) are given back {when}" if change.leased and when else ""
    print_line(f"'{study}' is {state}; {step}{back}")


def _moment(now: bool) -> str:
    return "at once" if now else "after the current epoch"
