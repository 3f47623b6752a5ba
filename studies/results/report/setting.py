"""What was searched, with which data and when: the parts of a report's page that need no figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape

from caviar.studies.results.formatting import number, to_json
from caviar.studies.results.report.document import scrolled
from caviar.studies.results.report.records import Report, ReportedHyperparameter, ReportedStudy
from caviar.studies.results.summaries import StudyState
from caviar.studies.results.winner import Winner
from caviar.studies.way import Way


def space_table(report: Report) -> str:
    """Return the search space as HTML: each hyperparameter with its tier, range, default and the winner's value."""
    values = report.winner.hyperparameters if report.winner else {}
    rows = [(h.name, number(values.get(h.name)), _default(report, h), str(h.tier), str(h.scale))
            for h in report.hyperparameters]  # fmt: skip
    rows += [(name, number(value), "-", "-", "not searched") for name, value in report.study.fixed.items()]
    columns = ("hyperparameter", report.title, "default", "tier", "range")
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    table = f'<table class="space"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return scrolled(table, "The search space")


def _default(report: Report, h: ReportedHyperparameter) -> str:
    return "-" if report.study.way is Way.OBJECTIVE else number(h.scale.default)


def configuration(winner: Winner) -> str:
    """Return the winner's hyperparameters as JSON, with a button that copies them."""
    text = json.dumps(to_json(winner.hyperparameters), ensure_ascii=False)
    return (
        f'<p class="copy"><code id="configuration">{escape(text)}</code> '
        f'<button type="button" data-copies="configuration">Copy</button><span role="status"></span></p>'
    )


def dates(report: Report) -> str:
    """Return when a study began, and when its last trial ended."""
    cost, last = report.cost, "last trial" if report.study.state == StudyState.DONE else "last trial so far"
    if cost.began is None:
        return ""
    ended = "" if cost.ended is None else f"; the {last} ended {cost.ended:%Y-%m-%d %H:%M} UTC"
    return f"It began {cost.began:%Y-%m-%d %H:%M} UTC{ended}."


def data_sizes(study: ReportedStudy) -> Iterator[str]:
    """Yield how many examples the data have, where that is known."""
    if study.sizes:
        yield f"Examples of {study.data}: {', '.join(f'{count:,} {part}' for part, count in study.sizes.items())}."
