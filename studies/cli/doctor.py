"""`caviar doctor`: is all well with the database and this machine?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from studies.cli.data import DataDir, data_folder
from studies.cli.output import AsJson, DatabaseUrl, err, out, print_json, say, settings_of

if TYPE_CHECKING:
    from studies.doctor import Report

_LONG_LINE = 2000  # columns, in a file or a pipe, so that each check is one line to search for
_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Take back what dead workers hold, and remove what nobody can need.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Check the database and this machine, and say what to do; exit with 1 where something cannot work.

    Nothing is changed without --fix, and nothing that may be in use with it. Example: caviar doctor --fix
    """
    settings = settings_of(database_url)
    with err().status("examining the database and this machine"):
        from studies.doctor import examine

        report = examine(settings, data_folder(data_dir), say, fix=fix)
    if as_json:
        print_json(
            {
                "findings": [
                    {"level": f.level, "what": f.what, "told": f.told, "step": f.step} for f in report.findings
                ],
                "done": report.done,
            }
        )
    else:
        _print(report)
    return 1 if report.failed else 0


def _print(report: Report) -> None:
    for line in report.done:
        out().print(f"done: {line}", markup=False, soft_wrap=True)
    if report.fix and not report.done:
        out().print("done: nothing was to be done", markup=False)
    table = Table("", "check", "found", "what to do", box=None, header_style="bold", pad_edge=False)
    for f in report.findings:
        table.add_row(Text(f.level, style=_STYLES[f.level]), f.what, Text(f.told), Text(f.step))
    console = out() if out().is_terminal else Console(highlight=False, width=_LONG_LINE)
    console.print(table)
