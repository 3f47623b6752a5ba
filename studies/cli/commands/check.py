"""`caviar check`: try a study before it is searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import caviar
from caviar.studies.cli.findings import READABLE, print_findings
from caviar.studies.cli.options import AsJson, DataDir, DefinedStudy
from caviar.studies.cli.output import print_json, print_line, spinner

if TYPE_CHECKING:
    from caviar.studies.check.report import CheckReport


def check(
    study: DefinedStudy,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Workers that the cost is told for; one on each core by default.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Such as cuda:1; the first GPU by default, or else the CPU.")
    ] = None,
    epoch_timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            help="Time in an epoch without a batch after which a training hangs, such as 90s or 30min; without it, the "
            "study's epoch_timeout, or else ten times the longest epoch so far, but at least 5 minutes, and an hour "
            "before the first.",
        ),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> int:
    """Try a study before it is searched: whether it resumes exactly, what breaks it, and what it costs.

    Trains a few epochs at the defaults, interrupts and resumes them, and one epoch at each end of each range. Needs no
    database. Exits with 1 if something cannot work. Example: caviar check tune.py

    In Python: caviar.check("tune.py")
    """
    with spinner("loading the study") as status:
        report = caviar.check(
            study, workers=workers, device=device, epoch_timeout=epoch_timeout, data_dir=data_dir,
            on_step=lambda step: status.update(f"training: {step}"),
        )  # fmt: skip
    if as_json:
        print_json({"study": report.study, "findings": report.findings, "cost": report.cost})
    else:
        _print(report, study)
    return 1 if report.failed else 0


def _print(report: CheckReport, selector: str) -> None:
    from caviar.studies.check.report import describe_cost

    print_findings(report.findings, READABLE)
    if report.cost is not None:
        print_line(describe_cost(report.cost))
    next_step = f"mend it, and try again: caviar check {selector}" if report.failed else f"caviar run {selector}"
    print_line(next_step if report.failed else f"run it with: {next_step}", style="dim")
