"""Print the findings of a check: a table, or lines on a narrow terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.padding import Padding
from rich.text import Text

from caviar.studies.cli.output import console_of, out
from caviar.studies.cli.tables import NARROW, table
from caviar.studies.findings import Finding

ONE_LINE = 2000  # columns, in a file or a pipe, so that each finding is one line to search for
READABLE = 110  # columns, as wide as a person reads
_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def print_findings(findings: Iterable[Finding], file_width: int = ONE_LINE) -> None:
    """Print findings on stdout, in the order given; in a file or a pipe with so many columns."""
    if out().width < NARROW:
        for f in findings:
            out().print(Text.assemble((f.level, _STYLES[f.level]), f" {f.what}: {f.message}"))
            if f.step:
                out().print(Padding(Text(f.step), (0, 0, 0, 2)))
        return
    found = list(findings)
    columns = slice(None if any(f.step for f in found) else -1)  # where there is nothing to do, no room is left for it
    rows = table(*("", "check", "found", "what to do")[columns])
    for f in found:
        cells = [Text(f.level, style=_STYLES[f.level]), Text(f.what), Text(f.message), Text(f.step)]
        rows.add_row(*cells[columns])
    console = out() if out().is_terminal else console_of(sys.stdout, width=file_width)
    console.print(rows)
