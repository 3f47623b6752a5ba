"""`caviar doctor`: check the database and this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

import caviar
from caviar.studies.cli.options import AsJson, Database, DataDir
from caviar.studies.cli.output import console_of, out, print_json, spinner
from caviar.studies.cli.tables import NARROW, table

if TYPE_CHECKING:
    from caviar.studies.doctor.run import Report

_LONG_LINE = 2000  # columns, in a file or a pipe, so that each check is one line to search for
_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Free the trials of dead workers, and remove what nothing needs any more.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database: Database = None,
) -> int:
    """Check the database and this machine, with the next step for each problem; exit with 1 if there is an error.

    Without --fix nothing is changed; with it, nothing that is in use. Example: caviar doctor --fix

    In Python: caviar.doctor(fix=True)
    """
    with spinner("checking the database and this machine"):
        report = caviar.doctor(fix=fix, data_dir=data_dir, database=database)
    if as_json:
        print_json({"findings": report.findings, "done": report.done})
    else:
        _print(report)
    return 1 if report.failed else 0


def _print(report: Report) -> None:
    for line in report.done:
        out().print(f"done: {line}", soft_wrap=True)
    if report.fix and not report.done:
        out().print("done: there was nothing to do")
    if out().width < NARROW:
        for f in report.findings:
            out().print(Text.assemble((f.level, _STYLES[f.level]), f" {f.what}: {f.message}"))
            if f.step:
                out().print(Padding(Text(f.step), (0, 0, 0, 2)))
        return
    findings = table("", "check", "found", "what to do")
    for f in report.findings:
        findings.add_row(Text(f.level, style=_STYLES[f.level]), f.what, Text(f.message), Text(f.step))
    console = out() if out().is_terminal else console_of(sys.stdout, width=_LONG_LINE)
    console.print(findings)
