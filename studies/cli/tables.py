"""How results stand below one another: nothing is cut off, and a narrow terminal has less beside and more below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

NARROW = 60  # columns below which less is told
_LEAST = 30  # columns for hyperparameters beside something else


def table(*heads: str) -> Table:
    """Return a table without lines, whose cells go on below where they are too long."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        made.add_column(head, overflow="fold")
    return made


def fits(console: Console, made: RenderableType) -> bool:
    """Say whether something is to be had without a line that goes on below."""
    return console.measure(made, options=console.options.update(width=10_000, markup=False)).maximum <= console.width


def with_settings(console: Console, heads: Sequence[str], rows: Sequence[tuple[Sequence[str], str]]) -> RenderableType:
    """Return rows, each with its hyperparameters: beside it where the console has room for them, else below it.

    Args:
        heads: of the cells.
        rows: cells, and the hyperparameters in one line.
    """
    widths = [max(map(len, column)) for column in zip(heads, *(cells for cells, _ in rows), strict=True)]
    if console.width - sum(width + 2 for width in widths) >= _LEAST:
        made = table(*heads, "hyperparameters")
        for column in made.columns[:-1]:
            column.no_wrap = True
        for cells, settings in rows:
            made.add_row(*cells, settings)
        return made
    lines: list[RenderableType] = [Text(_line(heads, widths), style="bold")]
    for cells, settings in rows:
        lines += [Text(_line(cells, widths)), Padding(Text(settings, style="dim"), (0, 0, 0, 2))]
    return Group(*lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
