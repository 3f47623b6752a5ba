"""Was the search space right, were its points enough, and what in it mattered?"""

from __future__ import annotations

from collections.abc import Sequence

from caviar.studies.results.importance import order_in_words
from caviar.studies.results.report.questions.commands import confirm, retune
from caviar.studies.results.report.questions.noise import UNKNOWN, differs, reach
from caviar.studies.results.report.records import Answer, Report, ReportedHyperparameter, ReportedTrial
from caviar.studies.search.noise import Noise
from caviar.studies.way import Way

_EDGE = 0.05  # of a scale, at each end
_ENOUGH = 5  # trials near the best
_LEAST_SHARE = 0.05  # of the variation: what may explain less than that is not said to have decided anything


def edge(report: Report, winner: ReportedTrial) -> Answer:
    """Say which hyperparameters of the winner are at an end of their range, though they were not simply put there."""
    wider, listed, ends, widen, at_default = [], [], [], [], []
    for h in report.hyperparameters:
        side = _side(h, winner)
        if side is None:
            continue
        place = f"{h.name} ({winner.hyperparameters[h.name]:.4g}, the {side} end of {h.scale})"
        if winner.hyperparameters[h.name] == h.scale.default:
            at_default.append(f"{h.name} ({winner.hyperparameters[h.name]:.4g})")
        elif report.study.way is Way.OBJECTIVE:
            wider.append(place)
        elif h.room[side == "upper"]:
            wider.append(place)
            widen.append(f"--widen {h.name}")
        elif any(h.room):
            ends.append(place)
        else:
            listed.append(place)
    question = "Is the best point at the edge of its range?"
    of_code = "; a wider range in the objective is another study" if report.study.way is Way.OBJECTIVE else ""
    parts = [
        *([f"{', '.join(wider)}: better values may lie beyond{of_code}"] if wider else []),
        *([f"{', '.join(listed)}: to try others, name more values in a study's file"] if listed else []),
        *([f"{', '.join(ends)}: nothing lies beyond"] if ends else []),
    ]
    if not parts:
        others = "every other" if at_default else "every"
        defaults = f"{', '.join(at_default)} at the default, which is an end of the range; " if at_default else ""
        return Answer(question, f"No: {defaults}{others} hyperparameter of the winner is inside its range.")
    if not widen:
        return Answer(question, f"Yes: {'; '.join(parts)}.")
    names = " and ".join(option.removeprefix("--widen ") for option in widen)
    why = f"{names}: at the end of the range"
    return Answer(question, f"Yes: {'; '.join(parts)}.", retune(report, "wider", " ".join(widen)), why)


def _side(h: ReportedHyperparameter, trial: ReportedTrial) -> str | None:
    """Return the end of its range that a hyperparameter of a trial is at; None inside, and for names without order."""
    if h.name not in trial.hyperparameters:
        return None
    return h.scale.end_near(trial.hyperparameters[h.name], _EDGE)


def enough(report: Report, best: Sequence[ReportedTrial], noise: Noise | None) -> Answer:
    """Say what more trials are expected to bring; where no model says it, whether several trials came as near to the
    best value as another training of it would."""
    question, study = "Were enough points sampled?", report.study
    if report.winner is not None and (prospect := report.winner.prospect):
        if prospect.is_noise:
            return Answer(question, f"Yes: {prospect}.")
        if not prospect.is_worth_it:
            return Answer(question, f"Probably: {prospect}.")
        command = f"caviar extend {study.name} --budget {study.budget + prospect.trials}"
        why = f"{prospect.gain:+.2g} is expected, up to {prospect.high:+.2g}"
        return Answer(question, f"Perhaps not: {prospect}.", command, why)
    if noise is None:
        return Answer(question, f"It is not clear: {UNKNOWN}.", confirm(report))
    values = [t.value for t in best if t.value is not None]
    near = sum(abs(value - values[0]) <= reach(noise) for value in values)
    within = f"as near to the best value as two trainings of it ({reach(noise):.2g}; {differs(noise)})"
    evidence = f"{near} of {len(best)} complete trials are {within}"
    if near >= _ENOUGH:
        return Answer(question, f"Yes: {evidence}, so that more of them would change little.")
    command = f"caviar extend {study.name} --budget {2 * study.budget}"
    few = f"only {near} came near the best value"
    return Answer(question, f"Perhaps not: only {evidence}.", command, few)


def order(report: Report) -> Answer:
    """Say which hyperparameter decided most, and whether earlier tiers mattered more than later ones."""
    question, importance = "Which hyperparameters mattered, and did the documented order hold?", report.importance
    if importance is None:
        return Answer(question, "Ten finished trials of different values are needed to say.")
    first = importance.hyperparameters[0]
    share = f"{first.share:.0%}, {first.low:.0%} to {first.high:.0%}"
    if first.low < _LEAST_SHARE:
        return Answer(question, f"It is not clear: the largest share of the variation is {first.name}'s ({share}).")
    most = f"{first.name} decided most ({share})"
    return Answer(question, f"{most}; {'; '.join(order_in_words(importance))}.")
