"""Arguments and options that several commands share. Each block stands here once, with its help and its defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from caviar.limits import COHORT, SECONDS
from caviar.storage.timing import GRACE, LEASE, LEAST_LEASE, LEAST_RENEW, PATIENCE, RENEW
from caviar.studies.cli.output import print_remark
from caviar.studies.errors import OptionError
from caviar.text import shown, whole_number

_LOSSES = "When a worker, a training or the database goes away"  # panels of the help, behind what everybody needs
_PLACES = "Where data and studies are"

DefinedStudy = Annotated[
    str, typer.Argument(help="A name of the catalog, a path to a .py file with a STUDY, or package.module:NAME.")
]
Selector = Annotated[
    str,
    typer.Argument(
        help="A name of the catalog or of a study in the database, a path to a .py file with a STUDY, or "
        "package.module:NAME."
    ),
]
StoredStudy = Annotated[str, typer.Argument(help="A study in the database (see: caviar ls).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Cohort = Annotated[
    str, typer.Option(metavar="N", help="Trials that a worker trains as one program; auto: as many as make it faster.")
]
EpochTimeout = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        show_default=False,
        rich_help_panel=_LOSSES,
        help="Time in an epoch without a batch after which a training hangs, and its worker is replaced, such as 90s, "
        "30min or 2h; without it, the study's epoch_timeout, or else ten times the longest epoch of this command's "
        "workers so far, but at least 5 minutes, and an hour before the first epoch of any of them. Give more where a "
        "later model takes longer to compile.",
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        show_default=False,
        help="How long this command may take, such as 90min or 2h: no trial begins that is not expected to end in it, "
        "and one that has not ended by then is given back, for the next command to go on with.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="CAVIAR_DATA_DIR",
        show_default=False,
        rich_help_panel=_PLACES,
        help="Folder of the data sets; without it, one in this user's cache.",
    ),
]


def _warn_of_password(url: str | None) -> str | None:
    if url and (":" in url.partition("://")[2].rpartition("@")[0] or "password=" in url):
        print_remark(
            "other users of this machine can see a password in --database-url; set CAVIAR_DATABASE_URL instead"
        )
    return url


Database = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        show_default=False,
        rich_help_panel=_PLACES,
        callback=_warn_of_password,
        help="PostgreSQL to use instead of CAVIAR_DATABASE_URL; without either, a built-in server. "
        "Other users of this machine can see a password in it: set the variable instead.",
    ),
]


def _seconds(meaning: str, least: float = 0.0) -> Any:
    """Return an option of so many seconds at least."""
    return typer.Option(min=least, max=SECONDS, metavar="SECONDS", rich_help_panel=_LOSSES, help=meaning)


Lease = Annotated[float, _seconds("Silence after which a worker loses its trials.", LEAST_LEASE)]
Renew = Annotated[float, _seconds("Time between two signs of life of a worker.", LEAST_RENEW)]
Grace = Annotated[float, _seconds("Time that the current epoch may take after a signal to stop.")]
Patience = Annotated[float, _seconds("Time to wait for a database that is away; then exit 75.")]


@dataclass(frozen=True)
class TrainingOptions:
    """The options of every command that trains, named as the library's keyword arguments."""

    lease: Lease = LEASE
    renew: Renew = RENEW
    grace: Grace = GRACE
    patience: Patience = PATIENCE
    data_dir: DataDir = None
    database: Database = None


def takes_training_options(command: Callable[..., int]) -> Callable[..., int]:
    """Replace a command's parameter `options` by one option for each field of `TrainingOptions`."""
    hints = get_type_hints(command, include_extras=True)
    own = [p.replace(annotation=hints[n]) for n, p in inspect.signature(command).parameters.items() if n != "options"]
    hints = get_type_hints(TrainingOptions, include_extras=True)
    shared = [
        p.replace(annotation=hints[name], kind=p.KEYWORD_ONLY)
        for name, p in inspect.signature(TrainingOptions).parameters.items()
    ]

    @wraps(command)
    def parsed(**given: Any) -> int:
        options = TrainingOptions(**{p.name: given.pop(p.name) for p in shared})
        return command(**given, options=options)

    parsed.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # what typer reads
    return parsed


def cohort_size(given: str) -> int | None:
    """Read the option `--cohort`; None stands for auto.

    Raises:
        OptionError: it is neither auto nor a number in its range.
    """
    if given == "auto":
        return None
    size = whole_number(given)
    if size is not None and 1 <= size <= COHORT:
        return size
    raise OptionError(
        f"--cohort {shown(given)}: give auto, or how many trials each worker trains as one program, 1 to {COHORT:,}; "
        f"1 for one by one"
    )
