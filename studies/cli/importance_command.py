"""`caviar importance`: which hyperparameters mattered, and whether the order of the tiers held."""

from __future__ import annotations

from rich.table import Table

from studies.cli.output import AsJson, DatabaseUrl, database, out, print_json, tell, unicode
from studies.cli.show import StoredStudy

_BAR = 24  # columns


def importance(study: StoredStudy, as_json: AsJson = False, database_url: DatabaseUrl = None) -> int:
    """Show how much of the result each hyperparameter decided, and whether the documented order held.

    Example: caviar importance digits
    """
    from storage.definitions import load_study
    from storage.history import read_frozen_trials
    from studies.importance import ENOUGH, importances, in_words, to_facts
    from studies.manager import definition_of

    with database(database_url) as engine:
        record = load_study(engine, study)
        trials = read_frozen_trials(engine, record.optuna_study_id)
    found = importances(definition_of(record), trials)
    if as_json:
        print_json({"study": record.name, "importances": found and to_facts(found)})
        return 0
    if found is None:
        tell(f"{record.name}: {ENOUGH} finished trials of different values are needed; look again later")
        return 0
    tell(f"how much of {record.name}'s result each hyperparameter decides alone, by {found.trials} trials\n")
    table = Table("tier", "hyperparameter", "share", "90 % interval", "", box=None, header_style="bold", pad_edge=False)
    full = "█" if unicode() else "#"
    for one in found.hyperparameters:
        bar = full * round(_BAR * one.share)
        interval = f"{one.low:.0%} to {one.high:.0%}" if one.varied else "not varied yet"
        table.add_row(str(one.tier), one.name, f"{one.share:.0%}" if one.varied else "-", interval, bar)
    out().print(table)
    tell("\n" + "\n".join(in_words(found)))
    return 0
