"""Commands that train a panda: `caviar panda train` its next days, `caviar panda try` candidates for the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

import caviar
from caviar.epoch import metric_names
from caviar.limits import EPOCHS, TRIALS
from caviar.studies.cli.lines import settings_line
from caviar.studies.cli.options import TrainingOptions, takes_training_options
from caviar.studies.cli.output import out, print_line, unicode
from caviar.studies.cli.panda.standing import ModelStudy, Name, Settings, again, print_standing
from caviar.studies.cli.progress import EventPrinter
from caviar.studies.cli.sparkline import ASCII, BLOCKS, sparkline
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from caviar.studies.api.panda import Tried
    from caviar.studies.api.panda_training import Listener
    from caviar.studies.panda.records import DayEpoch
    from caviar.studies.workers.local.events import RunEvent

AllowMismatch = Annotated[
    bool,
    typer.Option(
        "--allow-mismatch", help="Train with other code, data or clock than the panda's; its journal says so."
    ),
]


@takes_training_options
def train(
    name: Name,
    days: Annotated[int, typer.Option(min=1, max=TRIALS, metavar="N", help="Days, one after the other.")] = 1,
    study: ModelStudy = None,
    allow_mismatch: AllowMismatch = False,
    *,
    options: TrainingOptions,
) -> int:
    """Train on from the last day, on this machine's GPU or one of its cores; a day that was left goes on first.

    Ctrl-C stops after the epoch; the same command, on any machine, goes on. One process at a time trains a panda.

    Example: caviar panda train baby --days 3

    In Python: caviar.panda.train("baby", days=3)
    """
    go_on = again(f"caviar panda train {name}", study)
    try:
        result = caviar.panda.train(
            name, days, study=study, allow_mismatch=allow_mismatch, on_event=_printer(), **vars(options)
        )
    except KeyboardInterrupt:
        return _print_left(go_on, 130)
    if not result.is_done:
        return _print_left(go_on, 0, by_another=not result.was_asked_to_stop)
    print_standing(result.journal, "", study)
    return 0


@takes_training_options
def try_(
    name: Name,
    settings: Settings,
    epochs: Annotated[int, typer.Option(min=1, max=EPOCHS, metavar="N", help="Epochs of each candidate.")] = 2,
    pick: Annotated[bool, typer.Option("--pick", help="Go on with the best one.")] = False,
    study: ModelStudy = None,
    allow_mismatch: AllowMismatch = False,
    *,
    options: TrainingOptions,
) -> int:
    """Train several candidates for the next day for a few epochs, all from where the panda is, as one program if that
    is faster.

    Each value is a candidate of its own, beside one that changes nothing. Nothing else of the panda changes, but for
    --pick.

    Example: caviar panda try baby learning_rate=0.01,0.03 momentum=0.99 --epochs 2

    In Python: caviar.panda.try_("baby", [{"learning_rate": 0.01}, {"momentum": 0.99}], epochs=2)
    """
    from caviar.studies.panda.candidates import parse_candidates

    go_on = again(f"caviar panda train {name}", study)
    try:
        result = caviar.panda.try_(
            name, parse_candidates(settings), epochs=epochs, pick=pick, study=study, allow_mismatch=allow_mismatch,
            on_event=_printer(), **vars(options),
        )  # fmt: skip
    except KeyboardInterrupt:
        return _print_left(go_on, 130)
    if not result.is_done:
        return _print_left(go_on, 0, by_another=not result.was_asked_to_stop)
    _print_candidates(result, go_on)
    return 0


def _print_left(go_on: str, code: int, *, by_another: bool = False) -> int:
    why = "somebody let it rest" if by_another else "left"
    print_line(f"{why}; nothing is lost; go on with: {go_on}")
    return code


def _print_candidates(tried: Tried, go_on: str) -> None:
    """Print candidates side by side, the best one first, and what comes next; `go_on` is the command that trains."""
    best, name = tried.candidates[0], tried.journal.name
    values = [value for day in tried.candidates for value in day.finite_curve]
    low, high = min(values, default=0.0), max(values, default=1.0)
    table = Table("day", tried.journal.metric, "by epoch", "training loss", "validation loss", "settings",
                  box=None, header_style="bold", pad_edge=False)  # fmt: skip
    for day in tried.candidates:
        curve = sparkline(day.finite_curve, low, high, BLOCKS if unicode() else ASCII)
        losses = number(day.last("training_loss")), number(day.last("validation_loss"))
        table.add_row(
            str(day.day), number(day.last("curve")), curve, *losses, settings_line(day.changed) or "as it was"
        )
    out().print(table)
    if tried.warning:
        print_line(tried.warning)
    if tried.picked is not None:
        print_line(f"the next day builds on day {tried.picked}; go on with: {go_on}")
    elif not best.saved:
        print_line("nothing can build on any of them")
    else:
        print_line(f"\nnext: caviar panda back {name} --to {best.day}  (go on with the best)\n"
                   f"      {go_on}  (go on as it was)", style="dim")  # fmt: skip


def _printer() -> Listener:
    """Return a listener that prints the check of this machine, and each epoch."""
    from caviar.studies.panda.records import DayEpoch

    of_check = EventPrinter("comparing this machine with the study")

    def on_event(event: RunEvent | DayEpoch) -> None:
        if isinstance(event, DayEpoch):
            _print_epoch(event)
        else:
            of_check(event)

    return on_event


def _print_epoch(event: DayEpoch) -> None:
    epoch = event.epoch
    measured = "  ".join(f"{name.replace('_', ' ')} {number(epoch.value(name))}" for name in metric_names([epoch]))
    print_line(
        f"{'look' if event.is_candidate else 'day'} {event.day}  epoch {epoch.epoch}  {measured}  {epoch.seconds:.1f} s"
    )
