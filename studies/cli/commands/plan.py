"""`caviar plan`: what a study would do, before anything runs."""

from __future__ import annotations

from itertools import groupby
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

import caviar
from caviar.studies.cli.options import AsJson, Database, Selector
from caviar.studies.cli.output import out, print_json, print_line
from caviar.studies.cli.tables import NARROW, table
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from rich.table import Table

    from caviar.storage.records import Slot
    from caviar.studies.results.summaries import StudyPlan

_BY_TRIALS = (
    "The objective names its hyperparameters and their ranges in its trials. The first trial has the middle of each "
    "range, and nothing is searched before a trial has named it."
)


def plan(
    study: Selector,
    budget: Annotated[int | None, typer.Option(metavar="N", help="Trials, instead of the study's own number.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="tiered, classic, random, grid, tpe, gp, or one of Optuna's samplers, such as optuna:CmaEsSampler.",
        ),
    ] = None,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show what a study would do: tiers, scales, ranges, defaults, and the slots of each tier and phase.

    Needs no database, except for a study that is only there. Example: caviar plan digits --budget 12

    In Python: caviar.plan("digits", budget=12)
    """
    planned = caviar.plan(study, budget=budget, strategy=strategy, database=database)
    if as_json:
        print_json(planned)
        return
    epochs = f" of {planned.epochs} epochs" if planned.epochs else ""
    what = (
        f": {planned.subject}, {planned.strategy}, {planned.budget} trials{epochs}, "
        f"to {planned.direction} {planned.metric}"
    )
    out().print(Text.assemble((planned.name, "bold"), what))
    first = 0 if out().width >= NARROW else 1  # the first column that there is room for
    if planned.by_trials:
        print_line(_BY_TRIALS)
    else:
        scales = table(*("tier", "hyperparameter", "range and scale", "default")[first:])
        for h in planned.hyperparameters:
            scales.add_row(*(str(h.tier), h.name, str(h.scale), number(h.scale.default))[first:])
        out().print(scales)
    out().print()
    out().print(_slots(planned, first))
    print_line(f"\n{planned.on_interruption}")
    given = {"--budget": budget, "--strategy": strategy}
    words = [study, *(f"{option} {quote(str(value))}" for option, value in given.items() if value is not None)]
    out().print(f"\nrun it with: caviar run {' '.join(words)}", style="dim")


def _slots(planned: StudyPlan, first: int) -> Table:
    """Return a row for each run of slots of the same tier and phase."""
    rows = table(*("trials", "slots", "tier", "phase", "free")[first:])
    for (tier, phase), run in groupby(planned.slots, key=lambda s: (s.tier, s.phase)):
        slots = list(run)
        begin, last = slots[0].number, slots[-1].number
        numbers = f"{begin}-{last}" if last > begin else str(begin)
        free = ", ".join(slots[-1].free) or ("none: the earlier winner" if phase == "prior" else "none: every default")
        if planned.by_trials:
            free = _named(slots[-1], planned.slots[-1].tier)
        rows.add_row(*(str(len(slots)), numbers, str(tier), phase, free)[first:])
    return rows


def _named(slot: Slot, last: int) -> str:
    """Return what a slot may change of what an objective names: the names of its tiers, and in the last all others."""
    if slot.phase == "default":
        return "none: the middle of every range"
    if slot.tier < last:
        return ", ".join(slot.free)
    return "all that it names"
