"""Print what to do next: the same list after every command."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from caviar.studies.cli.output import out

if TYPE_CHECKING:
    from caviar.studies.results.next_steps import Reason, Step

_HEAD = "next:"


def print_steps(steps: Iterable[Step], without: Reason | None = None) -> None:
    """Print steps in their order, each with its reason.

    Args:
        without: the reason of the step that the present command is.
    """
    shown = [Text.assemble(s.command, (f"  ({s.why})", "dim")) for s in steps if s.reason is not without]
    if not shown:
        return
    heads = [_HEAD, *[" " * len(_HEAD)] * (len(shown) - 1)]
    out().print()
    if not out().is_terminal:  # one line each, to search for
        for head, line in zip(heads, shown, strict=True):
            out().print(f"{head} {line.plain}", soft_wrap=True)
        return
    rows = Table.grid(padding=(0, 1))
    rows.add_column(style="dim")
    rows.add_column(overflow="fold")
    for head, line in zip(heads, shown, strict=True):
        rows.add_row(head, line)
    out().print(rows)
