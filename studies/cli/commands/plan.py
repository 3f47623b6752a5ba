"""`caviar plan`: what a study would do, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.output import AsJson, out, print_json
from caviar.studies.cli.tables import NARROW, table
from caviar.studies.results.formatting import number, to_json

if TYPE_CHECKING:
    from caviar.studies.results.summaries import PlannedSlot

Selector = Annotated[
    str, typer.Argument(help="A name of the catalog, a path to a .py file with a STUDY, or package.module:NAME.")
]


def plan(
    study: Selector,
    budget: Annotated[int | None, typer.Option(metavar="N", help="Trials, instead of the study's own number.")] = None,
    strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help="tiered, classic, random, grid, tpe or gp.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a study would do: tiers, scales, ranges, defaults, and the slots of each tier and phase.

    Needs no database. Example: caviar plan digits --budget 12
    """
    from caviar.studies.definition import change
    from caviar.studies.lifecycle.loader import select_study
    from caviar.studies.results.summaries import study_plan
    from caviar.studies.workers.trial.build import check

    definition = change(select_study(study), budget=budget, strategy=strategy)
    check(definition)
    facts = study_plan(definition)
    if as_json:
        print_json(to_json(facts))
        return
    out().print(
        f"[bold]{definition.name}[/]: {definition.model} on {definition.data}, {definition.strategy}, "
        f"{definition.budget} trials of {definition.epochs} epochs, to {definition.direction} {definition.metric}"
    )
    first = 0 if out().width >= NARROW else 1  # column that there is room for
    scales = table(*("tier", "hyperparameter", "range and scale", "default")[first:])
    for h in facts.hyperparameters:
        scales.add_row(*(str(h.tier), h.name, str(h.scale), number(h.scale.default))[first:])
    out().print(scales, markup=False)  # a choice may be [/relu]
    out().print()
    slots = table(*("trials", "slots", "tier", "phase", "free")[first:])
    for begin, last, slot in _runs(facts.slots):
        numbers = f"{begin}-{last}" if last > begin else str(begin)
        free = ", ".join(slot.free) or ("none: what won before" if slot.phase == "prior" else "none: every default")
        slots.add_row(*(str(last - begin + 1), numbers, str(slot.tier), slot.phase, free)[first:])
    out().print(slots)
    given = {"--budget": budget, "--strategy": strategy}
    words = [study, *(f"{option} {value}" for option, value in given.items() if value is not None)]
    out().print(f"\nrun it with: caviar run {' '.join(words)}", style="dim")


def _runs(slots: Iterable[PlannedSlot]) -> list[tuple[int, int, PlannedSlot]]:
    """Join neighbouring slots of the same tier and phase to (first, last, one of them)."""
    runs: list[tuple[int, int, PlannedSlot]] = []
    for slot in slots:
        if runs and (runs[-1][2].tier, runs[-1][2].phase) == (slot.tier, slot.phase):
            runs[-1] = runs[-1][0], slot.slot, slot
        else:
            runs.append((slot.slot, slot.slot, slot))
    return runs
