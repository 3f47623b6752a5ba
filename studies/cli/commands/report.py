"""`caviar report`: what a study found, as one page, as lines, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import caviar
from caviar.studies.cli.options import AsJson, Database, StoredStudy
from caviar.studies.cli.output import out, print_json, print_line, spinner
from caviar.studies.cli.page_files import OpenPage, PageFile, page_file, show_page
from caviar.studies.cli.panda.log import journal_view
from caviar.studies.cli.steps import print_steps
from caviar.studies.cli.winner import print_winner
from caviar.studies.results.formatting import begin_sentence, duration, of_planned
from caviar.studies.results.sentences import parent_in_words

_PACKAGES = ("caviar", "torch", "optuna")  # whose versions stand in the terminal; the page has all

if TYPE_CHECKING:
    from caviar.studies.results.report.records import Report


def report(
    study: StoredStudy,
    file: PageFile = None,
    open_: OpenPage = False,
    as_json: AsJson = False,
    database: Database = None,
) -> None:
    """Show what a study found: the winner, what it cost, and what its curves say. With -o as a page with pictures.

    The page is one file that loads nothing from a network. A panda's has the tree of its days, and its journal.

    Examples: caviar report digits, caviar report digits -o report.html --open

    In Python: caviar.report("digits", file="report.html")
    """
    file = page_file(file, f"{study}.html", opens=open_, as_json=as_json)
    with spinner("reading the study"):
        found = caviar.report(study, file=file, database=database)
        from caviar.studies.panda.records import Journal
    if as_json:
        print_json(found)
    elif file is not None:
        show_page("report", file, opens=open_)
    elif isinstance(found, Journal):
        out().print(journal_view(found))
    else:
        _print(found)


def _code_lines(report: Report) -> list[str]:
    """Return the versions and the commit that the study was begun with."""
    from caviar.studies.lifecycle.provenance import code_line

    if not report.provenance:
        return []
    newest = report.provenance[-1].provenance
    versions = [f"{name} {newest.packages[name]}" for name in _PACKAGES if name in newest.packages]
    own = code_line(newest)
    return [f"With {', '.join(versions)}{f'; your code: {own}' if own else ''}."] if versions or own else []


def _print(report: Report) -> None:
    if report.winner:
        print_winner(report.winner)
    cost = report.cost
    from caviar.studies.results.report.setting import data_sizes, dates  # which loads Optuna

    devices = "".join(f", {duration(device.seconds)} of {device.name} time" for device in cost.devices)
    print_line(f"  {cost.done} trials, {of_planned(cost.epochs, cost.epochs_planned)} epochs in "
               f"{duration(cost.wall_seconds)}{devices}, by {cost.workers} worker(s)")  # fmt: skip
    about = [dates(report), *data_sizes(report.study), *_code_lines(report)]
    about += [f"{begin_sentence(parent_in_words(report.parent))}."] if report.parent else []
    for line in filter(None, about):
        print_line(f"  {line}", style="dim")
    out().print()
    for a in report.answers:
        print_line(a.question, style="bold")
        print_line(f"  {a.answer}")
        if a.command:
            print_line(f"  {a.command}", style="cyan")
    print_steps(report.steps)
