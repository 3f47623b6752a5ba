"""`caviar curves`: learning curves in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

import caviar
from caviar.studies.cli.options import AsJson, Database, StoredStudy
from caviar.studies.cli.output import out, print_json, print_line, unicode
from caviar.studies.cli.sparkline import ASCII, BLOCKS, WIDTH, ends, sparkline
from caviar.studies.cli.tables import NARROW, with_settings
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from rich.console import RenderableType

_BESIDE, _BESIDE_NARROW = 40, 16  # columns of the cells before a curve


def curves(
    study: StoredStudy,
    metric: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Another metric than the study's, by its name.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Only the best N trials.")] = 10,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Draw the learning curves of the best trials, all on one scale, complete ones first.

    Examples: caviar curves digits --top 5, caviar curves digits --metric validation_loss

    In Python: caviar.curves("digits", top=5), caviar.curves("digits", metric="validation_loss")
    """
    found = caviar.curves(study, metric=metric, top=top, database=database)
    if as_json:
        print_json(found)
        return
    if not found:
        print_line(f"no trial of '{study}' has ended with a curve yet; go on with: caviar join {study}")
        return
    low, high = ends([curve.finite_values for curve in found], maximize=found[0].maximize)
    out().print(_rows(found, low, high))  # a choice may be [/relu]
    first, last = ("the median", "the best") if found[0].maximize else ("the best", "the median")
    scale = f"{found[0].metric} by epoch, from {number(low)} ({first}) to {number(high)} ({last})"
    print_line(f"\n{scale}; with pictures: caviar report {study} --open", style="dim")


def _rows(found: Sequence[caviar.LearningCurve], low: float, high: float) -> RenderableType:
    narrow = out().width < NARROW
    width = min(WIDTH, max(out().width - (_BESIDE_NARROW if narrow else _BESIDE), 2))
    value, rows = found[0].trial.metric, []
    heads = ["trial", value, "curve"] if narrow else ["trial", "phase", "state", value, "curve"]
    for curve in found:
        t = curve.trial
        line = sparkline(curve.finite_values, low, high, BLOCKS if unicode() else ASCII, width=width)
        cells = {"trial": str(t.trial), "phase": f"{t.tier} {t.phase}", "state": t.state, value: number(t.value),
                 "curve": line}  # fmt: skip
        rows.append(([cells[head] for head in heads], t.hyperparameters))
    return with_settings(out(), heads, rows)
