"""`caviar importance`: which hyperparameters mattered, and whether the order of the tiers held."""

from __future__ import annotations

from caviar.studies.cli.commands.status import StoredStudy
from caviar.studies.cli.output import AsJson, DatabaseUrl, database, out, print_json, tell, unicode
from caviar.studies.cli.tables import NARROW, table

_BAR, _BESIDE = 24, 45  # columns, of a bar and of what stands before it


def importance(study: StoredStudy, as_json: AsJson = False, database_url: DatabaseUrl = None) -> int:
    """Show how much of the result each hyperparameter decided, and whether the documented order held.

    Example: caviar importance digits
    """
    from caviar.storage.definitions import load_study
    from caviar.studies.lifecycle.manager import definition_of
    from caviar.studies.results.importance import ENOUGH, importances, in_words, to_facts
    from caviar.studies.results.winner import standings

    with database(database_url) as engine:
        record = load_study(engine, study)
        trials = standings(engine, record).trials
    found = importances(definition_of(record), trials)
    if as_json:
        print_json({"study": record.name, "importances": found and to_facts(found)})
        return 0
    if found is None:
        tell(f"{record.name}: {ENOUGH} finished trials of different values are needed; look again later")
        return 0
    tell(f"how much of {record.name}'s result each hyperparameter decides alone, by {found.trials} trials\n")
    room = min(_BAR, out().width - _BESIDE)  # a terminal that has none for bars has them not
    first = 0 if out().width >= NARROW else 1  # without the tier
    shares = table(*("tier", "hyperparameter", "share", "90 % interval", *([""] if room > 0 else []))[first:])
    full = "█" if unicode() else "#"
    for one in found.hyperparameters:
        bar = [full * round(room * one.share)] if room > 0 else []
        interval = f"{one.low:.0%} to {one.high:.0%}" if one.varied else "not varied yet"
        cells = (str(one.tier), one.name, f"{one.share:.0%}" if one.varied else "-", interval, *bar)
        shares.add_row(*cells[first:])
    out().print(shares)
    tell("\n" + "\n".join(in_words(found)))
    return 0
