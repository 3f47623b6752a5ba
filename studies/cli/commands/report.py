"""`caviar report`: what a study found, as one page, as lines, or as JSON."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caviar.studies.cli.commands.best import print_winner
from caviar.studies.cli.options import StoredStudy
from caviar.studies.cli.output import AsJson, DatabaseUrl, database, out, print_json, tell, working
from caviar.studies.cli.panda.log import journal_view
from caviar.studies.results.formatting import to_json

if TYPE_CHECKING:
    from caviar.studies.panda.records import Journal
    from caviar.studies.results.report.records import Report


def report(
    study: StoredStudy,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page there.", show_default=False)
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what a study found: the winner, what it cost, and what its curves say. With -o as a page with pictures.

    The page is one file that asks no network. Of a panda it has the tree of days, and the journal.

    Examples: caviar report digits, caviar report digits -o report.html --open
    """
    from caviar.storage.definitions import load_study
    from caviar.storage.pandas import is_panda
    from caviar.studies.errors import OptionError
    from caviar.studies.panda.journal import read_journal
    from caviar.studies.panda.records import Journal
    from caviar.studies.results.report.reading import read_report

    if as_json and (file is not None or open_):
        raise OptionError("--json prints no page: leave it out, or leave out --output and --open")
    with database(database_url) as engine, working("reading the study"):
        record = load_study(engine, study)
        found = read_journal(engine, record) if is_panda(engine, record.study_id) else read_report(engine, record)
    if as_json:
        print_json(to_json(found))
        return
    if file is None and not open_:
        if isinstance(found, Journal):
            out().print(journal_view(found))
        else:
            _tell(found)
        return
    file = file or Path(f"{study}.html")
    _write(file, found)
    tell(f"the report is {file} ({file.stat().st_size / 2**20:.1f} MB)", markup=False)
    if open_:
        webbrowser.open(file.resolve().as_uri())


def _write(file: Path, found: Report | Journal) -> None:
    from caviar.studies.errors import ExtraMissing
    from caviar.studies.panda.page import panda_page
    from caviar.studies.panda.records import Journal
    from caviar.studies.results.atomic_write import beside
    from caviar.studies.results.report.page import page

    try:
        text = panda_page(found) if isinstance(found, Journal) else page(found)
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"the page needs {error.name}: pip install -e '.[report]'") from error
    with beside(file, "-o") as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _tell(report: Report) -> None:
    if report.winner:
        print_winner(report.winner)
    cost = report.cost
    out().print(f"  {cost.done} trials, {cost.epochs} of {cost.epochs_planned} epochs, "
                f"{cost.training_seconds:.0f} s of training by {cost.workers} worker(s)\n")  # fmt: skip
    for a in report.answers:
        out().print(f"[bold]{a.question}[/]")
        tell(f"  {a.answer}", markup=False)
        if a.command:
            tell(f"  {a.command}", style="cyan", markup=False)
    name = report.study.name
    tell(f"\nwith pictures: caviar report {name} -o {name}.html --open", style="dim", markup=False)
