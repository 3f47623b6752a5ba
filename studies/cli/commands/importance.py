"""`caviar importance`: the hyperparameters that mattered, and whether the order of the tiers held."""

from __future__ import annotations

import caviar
from caviar.studies.cli.options import AsJson, Database, StoredStudy
from caviar.studies.cli.output import out, print_json, print_line, unicode
from caviar.studies.cli.tables import NARROW, table

_BAR, _BESIDE = 24, 45  # columns of a bar, and of the cells before it


def importance(study: StoredStudy, as_json: AsJson = False, database: Database = None) -> None:
    """Show how much of the result each hyperparameter decided, and whether the documented order of tiers held.

    Example: caviar importance digits

    In Python: caviar.importance("digits")
    """
    with caviar.connect(database) as engine:
        found, now = caviar.importance(study, database=engine), caviar.status(study, database=engine)
    from caviar.studies.results.importance import ENOUGH, MOST, order_in_words

    if as_json:
        print_json({"study": study, "importances": found})
        return
    if found is None:
        more = f"caviar extend {study} --budget {max(2 * now.budget, ENOUGH)}"
        step = f"get more with: {more}" if now.state == "done" else "look again later"
        print_line(f"{study}: {ENOUGH} finished trials of different values are needed; {step}")
        return
    # Of many it is the newest that count: a model of all would take minutes.
    trials = f"the newest {MOST} of {now.done}" if found.trials == MOST < now.done else str(found.trials)
    print_line(f"how much of {study}'s result each hyperparameter decides alone, by {trials} trials\n")
    room = min(_BAR, out().width - _BESIDE)  # a narrow terminal gets no bars
    first = 0 if out().width >= NARROW else 1  # nor the tier
    shares = table(*("tier", "hyperparameter", "share", "90 % interval", *([""] if room > 0 else []))[first:])
    full = "█" if unicode() else "#"
    for one in found.hyperparameters:
        bar = [full * round(room * one.share)] if room > 0 else []
        interval = f"{one.low:.0%} to {one.high:.0%}" if one.varied else "not varied yet"
        cells = (str(one.tier), one.name, f"{one.share:.0%}" if one.varied else "-", interval, *bar)
        shares.add_row(*cells[first:])
    out().print(shares)
    print_line("\n" + "\n".join(order_in_words(found)))
