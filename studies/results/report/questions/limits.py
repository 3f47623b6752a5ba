"""How many trials diverged or violated a constraint, and where in the search space?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from caviar.storage.states import TrialState
from caviar.studies.results.formatting import number
from caviar.studies.results.report.records import Answer, Report, ReportedTrial
from caviar.studies.results.winner import Winner

_SOME, _SHIFT = 3, 0.15  # diverged trials, and their distance from others on a scale, to say where trials diverge


def diverged(report: Report) -> Answer:
    """Say what share of the trials diverged, and beyond which value of a hyperparameter most of them did."""
    question, done = "What share of the trials diverged, and where?", report.cost.done
    bad = [t for t in report.trials if t.violated == "diverged"]
    if not bad:
        return Answer(question, f"None of {done}.")
    fine = [t for t in report.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED) and not t.violated]
    shifts = {}
    for h in report.hyperparameters:
        there, elsewhere = ([t.units[h.name] for t in group if h.name in t.units] for group in (bad, fine))
        if there and elsewhere:
            shifts[h.name] = statistics.mean(there) - statistics.mean(elsewhere)
    evidence = f"{len(bad)} of {done} ({len(bad) / done:.0%})"
    name = max(shifts, key=lambda n: abs(shifts[n]), default="")
    if len(bad) >= _SOME and abs(shifts.get(name, 0.0)) > _SHIFT:
        evidence += _where(name, large=shifts[name] > 0, bad=bad, fine=fine)
    spent = sum(t.epochs for t in bad)
    return Answer(question, f"{evidence}. They took {spent} of {report.cost.epochs} epochs.")


def _where(name: str, *, large: bool, bad: Sequence[ReportedTrial], fine: Sequence[ReportedTrial]) -> str:
    """Return the value of a hyperparameter beyond which trials diverged, in words.

    It is the value that divides them best from the others, so that one trial far away does not stand for all. Names,
    which have no order, have no such value.
    """
    sign = 1 if large else -1
    there, elsewhere = ([sign * t.units[name] for t in group if name in t.units] for group in (bad, fine))
    values = {sign * t.units[name]: t.hyperparameters[name] for t in bad if name in t.units}
    if not all(isinstance(value, int | float) for value in values.values()):
        return ""

    def beyond(group: Sequence[float], unit: float) -> int:
        return sum(other >= unit for other in group)

    cut = max(values, key=lambda unit: beyond(there, unit) / len(there) - beyond(elsewhere, unit) / len(elsewhere))
    return (
        f", most of all where {name} is {'large' if large else 'small'}: {beyond(there, cut)} of these have "
        f"{values[cut]:.4g} or {'more' if large else 'less'}, of the {len(elsewhere)} others {beyond(elsewhere, cut)}"
    )


def constrained(report: Report, winner: Winner) -> Answer:
    """Say how many trials violate each constraint, and how near the winner is to its bounds."""
    parts = []
    for name, bound in report.study.constraints.items():
        last = [t.last(name) for t in report.trials]
        above = sum(value is not None and value > bound for value in last)
        own = f"; the winner has {number(winner.metrics[name])}" if name in winner.metrics else ""
        parts.append(f"{above} of {report.cost.done} have a {name} above {number(bound)}{own}")
    return Answer("How many trials violate a constraint?", f"{'. '.join(parts)}.")
