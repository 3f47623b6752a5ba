"""Commands that tell the workers of all machines what to do: `pause`, `resume`, `stop`, `kill`, `extend`."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Annotated

import typer

from caviar.studies.cli.commands.status import StoredStudy
from caviar.studies.cli.output import DatabaseUrl, database, tell

AtOnce = Annotated[
    bool, typer.Option("--now", help="In the middle of an epoch: it is trained again from the last checkpoint.")
]


def pause(study: StoredStudy, now: AtOnce = False, database_url: DatabaseUrl = None) -> None:
    """Let the workers of all machines give their trials back after their epoch, and wait.

    They free their GPUs, and go on with: caviar resume. Example: caviar pause digits
    """
    _set(study, "pause", now, database_url, f"is paused; go on with: caviar resume {study}")


def stop(study: StoredStudy, now: AtOnce = False, database_url: DatabaseUrl = None) -> None:
    """Let the workers of all machines give their trials back after their epoch, and leave.

    Nothing is lost. Example: caviar stop digits --now
    """
    _set(study, "stop", now, database_url, f"is stopped; go on with: caviar resume {study}, and caviar join {study}")


def resume(study: StoredStudy, database_url: DatabaseUrl = None) -> None:
    """Let a paused or stopped study go on; workers that wait take it up.

    Example: caviar resume digits
    """
    _set(study, "run", False, database_url, f"goes on; more machines with: caviar join {study}")


def kill(
    study: StoredStudy,
    trial: Annotated[int, typer.Argument(min=0, help="Its number (see: caviar status STUDY).")],
    database_url: DatabaseUrl = None,
) -> None:
    """End one trial after its epoch, as one that was pruned; its slot is spent.

    Example: caviar kill digits 17
    """
    from caviar.storage.control import kill_trial
    from caviar.storage.definitions import load_study

    with database(database_url) as engine:
        ended = kill_trial(engine, load_study(engine, study), trial, by=by())
    tell(f"trial {trial} is ended" if ended else f"trial {trial} ends after its epoch; see: caviar status {study}")


def extend(
    study: StoredStudy,
    budget: Annotated[int, typer.Option(min=1, metavar="N", help="Trials in all, more than before.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Give a study a larger budget; its workers take that up by themselves.

    Example: caviar extend digits --budget 80
    """
    from caviar.storage.definitions import load_study
    from caviar.studies.lifecycle.manager import extend_study, progress

    with database(database_url) as engine:
        record = extend_study(engine, load_study(engine, study), budget)
        now = progress(engine, record)
    resume_ = "" if now.control == "run" else f"caviar resume {study}, and "
    tell(
        f"'{study}' has {now.budget} trials now, of which {now.done} are done; go on with: {resume_}caviar join {study}"
    )


def _set(study: str, control: str, at_once: bool, database_url: str | None, done: str) -> None:
    from caviar.storage.control import set_control
    from caviar.storage.definitions import load_study
    from caviar.storage.pandas import is_panda
    from caviar.studies.lifecycle.manager import progress
    from caviar.studies.results.summaries import state_of

    with database(database_url) as engine:
        record = load_study(engine, study)
        if is_panda(engine, record.study_id):
            done = f"{'goes on' if control == 'run' else 'rests'}; go on with: caviar panda train {study}"
        elif state_of(progress(engine, record)) == "done":
            tell(f"'{study}' is done; nothing was changed; see: caviar best {study}")
            return
        changed = set_control(engine, record.study_id, control, at_once=at_once, by=by())
        at_work = progress(engine, record).leased
    if not changed:
        tell(f"'{study}' was so already: it {done}")
    elif control == "run" or not at_work:
        tell(f"'{study}' {done}")
    else:
        when = "at once" if at_once else "after their epoch"
        tell(f"'{study}' {done}; {at_work} trial(s) are given back {when}")


def by() -> str:
    """Return who asks, for the journal."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
