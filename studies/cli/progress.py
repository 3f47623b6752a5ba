"""The parts that `run` and `join` share: their options, and the sentences that they print while workers train."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caviar.studies.cli.output import err, say, working

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from caviar.storage.records import StudyRecord
    from caviar.studies.cli.display import Display
    from caviar.studies.definition import Study
    from caviar.studies.lifecycle.provenance import Difference
    from caviar.studies.workers.local.events import Listener, RunEvent
    from caviar.studies.workers.local.options import WorkerOptions
    from caviar.studies.workers.local.signals import Stop
    from caviar.studies.workers.local.supervisor import Outcome

# The defaults are those of storage/timing.py.
Lease = Annotated[
    float, typer.Option(min=0.5, metavar="SECONDS", help="After which a worker that is not heard of loses its trial.")
]
Renew = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Between two signs of life of a worker.")]
Grace = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="That an epoch may take to its end after a signal to stop.")
]
Patience = Annotated[
    float,
    # At most storage/timing.py's MOST_PATIENCE: after that, what a worker holds may be removed.
    typer.Option(
        min=0, max=86_400, metavar="SECONDS", help="That a database that is away is waited for; then exit 75."
    ),
]
Cohort = Annotated[
    str, typer.Option(metavar="N", help="Trials that a worker trains as one program; auto: as many as make it faster.")
]


def cohort_size(given: str) -> int | None:
    """Read `--cohort`; None for auto.

    Raises:
        OptionError: it is neither auto nor a number from 1.
    """
    from caviar.studies.errors import OptionError

    if given == "auto":
        return None
    if given.isdecimal() and int(given) > 0:
        return int(given)
    raise OptionError(
        f"--cohort {given}: give auto, or how many trials each worker trains as one program; 1 for one by one"
    )


def printer(doing: str) -> Listener:
    """Return a listener that prints what happens while a study and this machine are checked.

    Args:
        doing: what a spinner says meanwhile, such as "checking the study".
    """
    from caviar.studies.workers.local.events import CheckBegan, CheckEnded, DataFetched, MachineDiffers

    spinners: list[AbstractContextManager[Any]] = []

    def on_event(event: RunEvent) -> None:
        if isinstance(event, CheckBegan):
            spinners.append(working(f"loading PyTorch, and {doing}"))
            spinners[-1].__enter__()
        elif isinstance(event, CheckEnded):
            spinners.pop().__exit__(None, None, None)
        elif isinstance(event, DataFetched):
            say(f"the data set '{event.name}' is now in {event.folder}")
        elif isinstance(event, MachineDiffers):
            err().print(_table(event.differences))

    return on_event


def check_and_fetch(study: Study, folder: Path, doing: str) -> None:
    """Check that a study can be trained, and fetch its data; errors are those of the function of the library."""
    from caviar.studies.workers.local import preparation

    preparation.check_and_fetch(study, folder, printer(doing))


def measure(engine: Engine, record: StudyRecord, order: WorkerOptions, stop: Stop) -> bool:
    """Measure the winner of a study that is done; False where this process was asked to stop before.

    Raises:
        DatabaseAway: the patience is over.
        CheckpointUnreachable: the winner's weights are in a place that this machine does not reach.
        DataUnavailable: the data are not here.
    """
    from caviar.storage.errors import DatabaseAway
    from caviar.storage.outage import Outage
    from caviar.studies.results.winner import conclude

    def asked() -> bool:
        return stop.asked

    try:
        outage = Outage(order.patience, asked)
        return not stop.asked and outage.insist(lambda: conclude(engine, record, order.data_dir, asked))
    except DatabaseAway:
        if not stop.asked:  # whoever stops does not wait for it
            raise
        return False


def work(
    engine: Engine, record: StudyRecord, study: Study, order: WorkerOptions, devices: Sequence[str], stop: Stop
) -> Outcome:
    """Run workers as `supervise` does, and print how it goes."""
    from caviar.studies.cli.display import Display
    from caviar.studies.workers.local.supervisor import supervise

    with Display(study) as display:

        def on_event(event: RunEvent) -> None:
            _print_event(event, display)

        return supervise(engine, record, order, devices, stop, on_event)


def _print_event(event: RunEvent, display: Display) -> None:
    from caviar.studies.cli.sentences import cohort_sentence
    from caviar.studies.workers.local import events

    match event:
        case events.Progressed():
            display.change(event.study)
            display.show(event.snapshot)
        case events.TrialsFreed():
            say(f"{event.count} unfinished trial(s) of workers that died on this machine go on")
        case events.CohortSized():
            if not display.live:  # which shows it already
                say(cohort_sentence(vars(event)))
        case events.DatabaseLost():
            wait = f"up to {event.patience / 60:.0f} min"
            say(f"the database is away; the workers train on, and it is waited for, {wait}")
        case events.DatabaseBack():
            say(f"the database is back, after {event.seconds:.0f} s")
        case events.ServerNotice():
            say(event.text)
        case events.Stopping():
            say(f"stopping: each worker finishes its epoch, for up to {event.grace:g} s; Ctrl-C leaves at once")


def _table(differences: Sequence[Difference]) -> Any:
    from rich.table import Table

    table = Table("", "the study", "this machine", box=None, header_style="bold", pad_edge=False)
    for difference in differences:
        style = "dim" if difference.weight == "note" else "yellow"
        table.add_row(difference.what, difference.there, difference.here, style=style)
    return table
