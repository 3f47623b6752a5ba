"""`caviar curves`: learning curves in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from caviar.studies.cli.commands.status import StoredStudy
from caviar.studies.cli.output import AsJson, DatabaseUrl, database, out, print_json, settings_line, tell, unicode
from caviar.studies.cli.sparkline import ASCII, BLOCKS, WIDTH, ends, sparkline
from caviar.studies.cli.tables import NARROW, with_settings
from caviar.studies.results.formatting import number

_BESIDE, _BESIDE_NARROW = 40, 16  # columns of what stands before a curve


def curves(
    study: StoredStudy,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Only the best ones.")] = 10,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Draw the learning curves of the best trials, all on one scale, complete ones first.

    Example: caviar curves digits --top 5
    """
    from caviar.storage.curves import read_curves
    from caviar.storage.definitions import load_study
    from caviar.storage.status import read_trials
    from caviar.studies.lifecycle.manager import definition_of

    with database(database_url) as engine:
        record = load_study(engine, study)
        definition = definition_of(record)
        trials, epochs = read_trials(engine, record.study_id), read_curves(engine, record.study_id)
    sign = -1 if definition.maximize else 1
    sound = [t for t in trials if t.value is not None and not t.violated and t.slot.number in epochs]
    sound.sort(key=lambda t: (t.state != "complete", sign * (t.value or 0.0), t.slot.number))
    drawn = {t.slot.number: [e.value(definition.metric) for e in epochs[t.slot.number]] for t in sound[:top]}
    if as_json:
        print_json(
            [{"trial": number_, "metric": definition.metric, "curve": curve} for number_, curve in drawn.items()]
        )
        return
    if not drawn:
        tell(f"no trial of '{study}' has ended with a curve yet; go on with: caviar run {study}")
        return
    low, high = ends(drawn.values(), maximize=definition.maximize)
    narrow, blocks = out().width < NARROW, BLOCKS if unicode() else ASCII
    width = min(WIDTH, max(out().width - (_BESIDE_NARROW if narrow else _BESIDE), 2))
    heads, rows = ["trial", "value", "curve"] if narrow else ["trial", "phase", "state", "value", "curve"], []
    for t in sound[:top]:
        cells = {"trial": str(t.slot.number), "phase": f"{t.slot.tier} {t.slot.phase}", "state": t.state,
                 "value": number(t.value),
                 "curve": sparkline(drawn[t.slot.number], low, high, blocks, width=width)}  # fmt: skip
        rows.append(([cells[head] for head in heads], settings_line(definition.values(t.parameters))))
    out().print(with_settings(out(), heads, rows), markup=False)  # a choice may be [/relu]
    told = f"{definition.metric} by epoch, from {number(low)} to {number(high)}"
    tell(f"\n{told}; with pictures: caviar report {study} --open", style="dim")
