"""`caviar curves`: learning curves in the terminal."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from studies.cli.output import AsJson, DatabaseUrl, database, out, print_json, settings_line, tell, unicode
from studies.cli.show import StoredStudy
from studies.cli.sparkline import ASCII, BLOCKS, ends, sparkline
from studies.number import number


def curves(
    study: StoredStudy,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Only the best ones.")] = 10,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Draw the learning curves of the best trials, all on one scale, complete ones first.

    Example: caviar curves digits --top 5
    """
    from storage.curves import read_curves
    from storage.definitions import load_study
    from storage.status import read_trials
    from studies.manager import definition_of

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
    table = Table("trial", "phase", "state", "value", f"{definition.metric} by epoch", "hyperparameters",
                  box=None, header_style="bold", pad_edge=False)  # fmt: skip
    low, high = ends(drawn.values(), maximize=definition.maximize)
    for t in sound[:top]:
        curve = sparkline(drawn[t.slot.number], low, high, BLOCKS if unicode() else ASCII)
        values: dict[str, Any] = definition.values(t.parameters)
        table.add_row(str(t.slot.number), f"{t.slot.tier} {t.slot.phase}", t.state, number(t.value), curve,
                      settings_line(values))  # fmt: skip
    out().print(table, markup=False)  # a choice may be [/relu]
    tell(
        f"\nthe scale is from {number(low)} to {number(high)}; with pictures: caviar report {study} --open", style="dim"
    )
