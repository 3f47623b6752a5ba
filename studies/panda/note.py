"""A panda's journal in one page of Markdown, for whoever meets it in Optuna's dashboard."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from caviar.studies.dashboard.note import console, table, written
from caviar.studies.results.formatting import number


def panda_note(facts: dict[str, Any], at: datetime) -> str:
    """Return what the note on a panda says.

    Args:
        facts: its journal, of the moment `at`.
    """
    name, head = facts["name"], facts["days"][facts["head"]]
    rows = []
    for day in facts["days"]:
        changes = [_told(day["changed"])] if day["changed"] else []
        later = [n for n in day["nudges"] if not n["began_with_it"]]
        changes += [f"after epoch {n['epoch']}: {_told(n['settings'])}" for n in later]
        rows.append((
            f"{day['day']}{'' if day['current'] else ' (left)'}", "-" if day["parent"] is None else day["parent"],
            f"{day['begins_at']} to {day['epoch']}", number(day["curve"][-1] if day["curve"] else None),
            day["verdict"]["word"], "; ".join(changes), day["why"] or "",
        ))  # fmt: skip
    advice = f"Advice: {facts['advice']['why']}." if facts["advice"] else ""
    lines = {f"caviar panda log {name}": "its journal", f"caviar panda train {name}": "the next day",
             f"caviar report {name} -o {name}.html --open": "the tree of days, with curves"}  # fmt: skip
    return "\n\n".join((
        f"## `{name}`: one model, babysat; day {head['day']}, epoch {head['epoch']}",
        f"`{facts['model']}` on `{facts['data']}`. Each trial is a day, over the epochs of its whole life. {advice}",
        table(("day", "builds on", "epochs", facts["metric"], "verdict", "changed", "why"), rows),
        console(lines),
        written(at),
    ))  # fmt: skip


def _told(settings: dict[str, Any]) -> str:
    return ", ".join(f"`{name}` {number(value)}" for name, value in settings.items())
