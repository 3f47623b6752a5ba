"""Write a comparison as one self-contained HTML page, in the style of the report. It needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from caviar.studies.results.compare.figures import figures
from caviar.studies.results.compare.records import StudyComparison
from caviar.studies.results.compare.words import columns, names_of, row, verdicts
from caviar.studies.results.report.document import document

_TITLES = {
    "by trials": "The best value so far, by trials",
    "by time": "The best value so far, by the time of devices",
    "winners": "The winners",
}
_NOTES = {
    "by trials": "Complete trials only. The dotted line is the worst of the final values, which all studies came to. A "
    "double click shows the whole range.",
    "by time": "Every attempt counts, and once what trials share that one worker trains as one program.",
    "winners": "Points with bars: the mean of many trainings of the winner, expected (90 %) or measured (95 %). Stars: "
    "its own trial, whose value is partly luck.",
}


def comparison_page(of: StudyComparison) -> str:
    """Return a comparison as one HTML document."""
    drawn, names = figures(of), [study.name for study in of.studies]
    pictures = "".join(map(_picture, drawn))
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in verdicts(of))
    studies = _table(columns(of), [row(of, study) for study in of.studies], "The studies")
    body = f"""<h1>{escape(names_of(of))}</h1>
<p class="dim">{escape(f"{of.metric}, to {of.direction}")}</p>
<h2>Which one is better?</h2><ul>{said}</ul>{studies}
{pictures}
<h2>How they differ</h2>{_differences(of, names)}"""
    return document(f"{names_of(of)}: Caviar's comparison", body, drawn)


def _picture(name: str) -> str:
    note = f'<p class="dim">{escape(_NOTES[name])}</p>'
    return f'<h2>{escape(_TITLES[name])}</h2>{note}<div class="figure" id="{name}"></div>'


def _differences(of: StudyComparison, names: Sequence[str]) -> str:
    if not of.differences:
        return "<p>In nothing that is known: definition, data, code and versions are the same.</p>"
    rows = [[difference.what, *difference.values] for difference in of.differences]
    return _table(["", *names], rows, "How they differ")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    """Return a table whose first column names the rows; a narrow screen shows each row as a card."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{_row(heads, cells)}</tr>" for cells in rows)
    inside = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<table class="cards-below" aria-label="{escape(name)}">{inside}</table>'


def _row(heads: Sequence[str], cells: Sequence[str]) -> str:
    others = zip(heads[1:], cells[1:], strict=True)
    named = "".join(f'<td data-label="{escape(head)}">{escape(cell)}</td>' for head, cell in others)
    return f'<th scope="row">{escape(cells[0])}</th>{named}'
