"""`caviar doctor`: check the database and this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import caviar
from caviar.studies.cli.findings import print_findings
from caviar.studies.cli.options import AsJson, Database, DataDir
from caviar.studies.cli.output import out, print_json, spinner

if TYPE_CHECKING:
    from caviar.studies.doctor.run import Report


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
    print_findings(report.findings)
