"""Lay out results as tables that cut nothing off: a narrow terminal gets fewer columns and more lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from caviar.studies.cli.lines import Pieces, indented, settings

NARROW = 60  # columns below which less is shown
_LEAST = 30  # columns for hyperparameters beside other cells


def table(*heads: str) -> Table:
    """Return an empty table without lines, whose cells are wrapped where they are too long."""
    empty = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        empty.add_column(head, overflow="fold")
    return empty


def fits(console: Console, renderable: RenderableType) -> bool:
    """Return whether a console has room for something without wrapping a line."""
    options = console.options.update(width=10_000)
    return console.measure(renderable, options=options).maximum <= console.width


def with_settings(
    console: Console, heads: Sequence[str], rows: Sequence[tuple[Sequence[str], Mapping[str, object]]]
) -> RenderableType:
    """Return rows with their hyperparameters: in a last column if the console has room for it, else below each row."""
    widths = [max(map(len, column)) for column in zip(heads, *(cells for cells, _ in rows), strict=True)]
    if console.width - sum(width + 2 for width in widths) >= _LEAST:
        wide = table(*heads, "hyperparameters")
        for column in wide.columns[:-1]:
            column.no_wrap = True
        for cells, values in rows:
            wide.add_row(*cells, Pieces(settings(values)))
        return wide
    lines: list[RenderableType] = [Text(_line(heads, widths), style="bold")]
    for cells, values in rows:
        lines += [Text(_line(cells, widths)), indented(Pieces(settings(values), style="dim"), 2)]
    return Group(*lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
