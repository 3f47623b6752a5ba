"""`caviar compare`: several studies beside one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.styled import Styled
from rich.text import Text

import caviar
from caviar.studies.cli.options import AsJson, Database
from caviar.studies.cli.output import out, print_json, print_line, spinner, unicode
from caviar.studies.cli.page_files import OpenPage, PageFile, page_file, show_page
from caviar.studies.cli.sparkline import ASCII, BLOCKS, WIDTH, sparkline
from caviar.studies.cli.tables import fits, table
from caviar.studies.results.formatting import duration, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from caviar.studies.results.compare.records import BestAt, StudyComparison

_BESIDE = 24  # columns of a name and a value, beside a curve
_NAME = 100  # characters of a file's name, at most


def compare(
    studies: Annotated[list[str], typer.Argument(help="Two studies or more in the database (see: caviar ls).")],
    file: PageFile = None,
    open_: OpenPage = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Compare studies of one metric: curves, winners, cost until the same value, and how their definitions differ.

    Examples: caviar compare digits digits-random, caviar compare digits digits-2 digits-3 -o digits.html --open

    In Python: caviar.compare(["digits", "digits-random"])
    """
    file = page_file(file, f"{'-against-'.join(studies)[:_NAME]}.html", opens=open_, as_json=as_json)
    with spinner("reading the studies"):
        found = caviar.compare(studies, file=file, database=database)
    if as_json:
        print_json(found)
    elif file is not None:
        show_page("comparison", file, opens=open_)
    else:
        _print(found)


def _print(found: StudyComparison) -> None:
    from caviar.studies.results.compare.words import columns, row, verdicts

    print_line(f"{found.metric}, to {found.direction}", style="bold")
    out().print(_rows(columns(found), [row(found, study) for study in found.studies]))
    out().print()
    for sentence in verdicts(found):
        print_line(sentence)
    _print_curves(found)
    out().print()
    print_line("how they differ", style="bold")
    if not found.differences:
        print_line("in nothing that is known: definition, data, code and versions are the same")
    else:
        heads = ["", *(study.name for study in found.studies)]
        out().print(_rows(heads, [[each.what, *each.values] for each in found.differences]))
    command = " ".join(["caviar compare", *(study.name for study in found.studies), "--open"])
    out().print()
    print_line(f"with pictures: {command}", style="dim")


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """Return a table; on a terminal that has no room for it a few lines for each row."""
    wide = table(*heads)
    for cells in rows:
        wide.add_row(*cells)  # texts, which the console spells out where it shows no more than ASCII
    if fits(out(), wide):
        return wide
    lines: list[RenderableType] = []
    for first, *cells in rows:
        lines.append(Styled(first, "bold"))
        lines += [Padding(f"{head}: {cell}", (0, 0, 0, 2)) for head, cell in zip(heads[1:], cells, strict=True)]
    return Group(*lines)


def _print_curves(found: StudyComparison) -> None:
    """Draw the best values so far, by trials and by the time of devices, all on one scale each."""
    from caviar.studies.results.compare.figures import floor

    there = [study for study in found.studies if study.best]
    low = floor(found)
    if low is None or not there:
        return
    ends = [study.best[-1].value for study in there]
    high = (max if found.maximize else min)(ends)
    width = max(min(WIDTH, out().width - _BESIDE), 8)
    out().print()
    print_line(f"the best {found.metric} so far, from {number(low)} to {number(high)}", style="bold")
    axes: dict[str, tuple[Callable[[BestAt], float], str]] = {
        "trials": (lambda at: at.trials, str(max(study.best[-1].trials for study in there))),
        "time of devices": (
            lambda at: at.device_seconds, duration(max(study.best[-1].device_seconds for study in there))
        ),
    }  # fmt: skip
    for name, (x, last) in axes.items():
        end = max(x(study.best[-1]) for study in there)
        print_line(f"by {name}, up to {last}", style="dim")
        for study in there:
            before, values = _sampled(study.best, x, end, width)
            worst, best = sorted((low, high))
            line = sparkline(values, worst, best, BLOCKS if unicode() else ASCII, width=width + 1)
            said = number(study.best[-1].value)
            out().print(Text.assemble(f"  {(' ' * before + line).ljust(width)}  ", (said, "green"), f"  {study.name}"))


def _sampled(best: Sequence[BestAt], x: Callable[[BestAt], float], end: float, width: int) -> tuple[int, list[float]]:
    """Return the best value at equal steps of an axis, from its first one to the end of the study, and how many steps
    there are before that."""
    steps = [end * (column + 1) / width for column in range(width)]
    before = sum(step < x(best[0]) for step in steps)
    inside = [step for step in steps[before:] if step <= x(best[-1])]
    return before, [next(at.value for at in reversed(best) if x(at) <= step) for step in inside] or [best[-1].value]
