"""Answers to the questions that every report should settle: a sentence with its evidence, and the command to act on it.

Source of the questions: Google Research, Deep Learning Tuning Playbook, "Extracting insight from experiment results",
https://github.com/google-research/tuning_playbook.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from caviar.storage.states import TrialState
from caviar.studies.results.confirmation import Comparison, in_words
from caviar.studies.results.formatting import number, told_apart
from caviar.studies.results.importance import order_in_words
from caviar.studies.results.report.noise import Noise, noise_of
from caviar.studies.results.report.records import Answer, Report, ReportedHyperparameter, ReportedTrial
from caviar.studies.results.summaries import StudyState
from caviar.studies.results.winner import Winner
from caviar.studies.way import Way

_EDGE = 0.05  # of a scale, at each end
_NEAR = 2.0  # times the noise: values closer together than that may differ by luck alone
_ENOUGH = 5  # trials near the best
_LAST = 4  # a quarter of the epochs: the last ones
_TOP = 5  # of the best trials, whose curves are examined
_LATE = 0.75  # of the epochs: a validation loss that was lowest later than that is no reason to train shorter
_SOME, _SHIFT = 3, 0.15  # diverged trials, and their distance from others on a scale, to say where trials diverge
_WORSE = 0.1  # of the lowest validation loss above it: overfit

_UNKNOWN = "one training of each does not show how much they vary"
_TOO_SHORT = "The curves are too short to tell."


def answers(report: Report) -> list[Answer]:
    """Return the answers that a study's trials allow; without a winner only how many trials diverged."""
    if report.winner is None:
        return [_diverged(report)] if report.cost.done else []
    best = report.best_first()
    noise = noise_of(report, report.winner, best)
    return [
        _edge(report, report.trials[report.winner.trial]),
        _enough(report, best, noise),
        _diverged(report),
        *([_constrained(report, report.winner)] if report.study.constraints else []),
        _still_improving(report, best[:_TOP], noise),
        *([_overfit(report, best[:_TOP], report.losses[1])] if report.losses else []),
        _ahead(report, report.winner, noise),
        _order(report),
    ]


def _edge(report: Report, winner: ReportedTrial) -> Answer:
    wider, listed, ends, widen = [], [], [], []
    for h in report.hyperparameters:
        side = _side(h, winner)
        if side is None:
            continue
        place = f"{h.name} ({winner.hyperparameters[h.name]:.4g}, the {side} end of {h.scale})"
        if report.study.way is Way.OBJECTIVE:
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
        return Answer(question, "No: every hyperparameter of the winner is inside its range.")
    return Answer(question, f"Yes: {'; '.join(parts)}.", _retune(report, "wider", " ".join(widen)) if widen else None)


def _side(h: ReportedHyperparameter, trial: ReportedTrial) -> str | None:
    """Return the end of its range that a hyperparameter of a trial is at; None inside, and for names without order."""
    if h.name not in trial.hyperparameters:
        return None
    return h.scale.end_near(trial.hyperparameters[h.name], _EDGE)


def _enough(report: Report, best: Sequence[ReportedTrial], noise: Noise | None) -> Answer:
    question, study = "Were enough points sampled?", report.study
    if noise is None:
        return Answer(question, f"It cannot be told: {_UNKNOWN}.", _confirm(report))
    reach, values = _NEAR * noise.deviation, _values(best)
    near = sum(abs(value - values[0]) <= reach for value in values)
    within = f"within the noise (± {number(reach)}, {noise.source}) of the best value"
    evidence = f"{near} of {len(best)} complete trials are {within}"
    if near >= _ENOUGH:
        return Answer(question, f"Yes: {evidence}, so that more of them would change little.")
    if study.state != StudyState.DONE:
        return Answer(question, f"Not yet: only {evidence}.", f"caviar run {study.name}")
    command = f"caviar extend {study.name} --budget {2 * study.budget}"
    return Answer(question, f"Perhaps not: only {evidence}.", command)


def _diverged(report: Report) -> Answer:
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


def _constrained(report: Report, winner: Winner) -> Answer:
    """Say how many trials violate each constraint, and how near the winner is to its bounds."""
    parts = []
    for name, bound in report.study.constraints.items():
        last = [t.last(name) for t in report.trials]
        above = sum(value is not None and value > bound for value in last)
        own = f"; the winner has {number(winner.metrics[name])}" if name in winner.metrics else ""
        parts.append(f"{above} of {report.cost.done} have a {name} above {number(bound)}{own}")
    return Answer("How many trials violate a constraint?", f"{'. '.join(parts)}.")


def _still_improving(report: Report, top: Sequence[ReportedTrial], noise: Noise | None) -> Answer:
    question, epochs = "Do the best curves still improve at their last epoch?", report.study.epochs
    sign = 1 if report.study.maximize else -1
    improving = []
    for t in top:
        curve = [value for _, value in t.curve if value is not None]
        last = max(1, len(curve) // _LAST)
        if len(curve) >= 2 * _LAST:
            gain = statistics.mean(curve[-last:]) - statistics.mean(curve[-2 * last : -last])
            improving.append(noise is not None and sign * gain > noise.deviation)
    if not improving:
        return Answer(question, _TOO_SHORT)
    if noise is None:
        return Answer(question, f"It cannot be told: {_UNKNOWN}.", _confirm(report))
    evidence = f"{sum(improving)} of the best {len(improving)} do, by more than the noise ({number(noise.deviation)})"
    if 2 * sum(improving) > len(improving):
        longer = _retune(report, "longer", f"--epochs {2 * epochs}") if epochs else None
        return Answer(question, f"Yes: {evidence}. Train longer.", longer)
    return Answer(question, f"No: {evidence}. {epochs or 'So many'} epochs are enough.")


def _overfit(report: Report, top: Sequence[ReportedTrial], validation: str) -> Answer:
    lowest_at, examined = [], 0
    for t in top:
        losses = t.metrics.get(validation, ())
        finite = [loss for loss in losses if loss is not None]
        examined += len(finite) >= _LAST
        if len(finite) >= _LAST and losses[-1] is not None and losses[-1] > min(finite) + _WORSE * abs(min(finite)):
            lowest_at.append(t.curve[losses.index(min(finite))][0])
    question = "Do they overfit?"
    if not examined:
        return Answer(question, _TOO_SHORT)
    if 2 * len(lowest_at) <= examined:
        return Answer(
            question, f"No: the validation loss of {examined - len(lowest_at)} of the best {examined} ends low."
        )
    epoch = math.ceil(statistics.median(lowest_at))
    return Answer(
        question,
        f"Yes: the validation loss of {len(lowest_at)} of the best {examined} was lowest around epoch {epoch}. Train "
        f"shorter, or name more dropout or weight decay in a study's file.",
        _retune(report, "shorter", f"--epochs {epoch}") if epoch <= _LATE * (report.study.epochs or 0) else None,
    )


def _ahead(report: Report, winner: Winner, noise: Noise | None) -> Answer:
    question = "Is the winner better than the runner-up by more than its noise?"
    if report.runner_up is None:
        return Answer(question, "There is no other complete trial.")
    if winner.confirmation:
        verdicts = {Comparison.BETTER: "Yes", Comparison.WORSE: "No", Comparison.OPEN: "It cannot be told"}
        return Answer(question, f"{verdicts[winner.confirmation.verdict]}: {in_words(winner.confirmation)}.")
    other = report.trials[report.runner_up].value or 0.0
    value, confirm = winner.value or 0.0, _confirm(report)
    apart = value - other if report.study.maximize else other - value
    its, others = told_apart(value, other)
    values = f"trial {report.runner_up} came to {others}, the winner to {its}"
    if apart < 0:
        return Answer(
            question, f"Not by its value: {values}; but of another training of the winner more is expected.", confirm
        )
    if winner.expected and winner.expected.low <= other <= winner.expected.high:
        return Answer(question, f"It cannot be told: {values}, and its other trainings may come to either.", confirm)
    if noise is None:
        return Answer(question, f"It cannot be told: {values}; {_UNKNOWN}.", confirm)
    if apart <= (reach := _NEAR * math.sqrt(2) * noise.deviation):  # both have it
        within = f"within the noise of two trainings (± {number(reach)}, {noise.source})"
        return Answer(question, f"It cannot be told: {values}, {within}.", confirm)
    return Answer(question, f"It seems so: {values}; one training of each cannot say more.", confirm)


def _order(report: Report) -> Answer:
    question, importance = "Which hyperparameters mattered, and did the documented order hold?", report.importance
    if importance is None:
        return Answer(question, "Ten finished trials of different values are needed to say.")
    first = importance.hyperparameters[0]
    most = f"{first.name} decided most ({first.share:.0%}, {first.low:.0%} to {first.high:.0%})"
    return Answer(question, f"{most}; {'; '.join(order_in_words(importance))}.")


def _values(trials: Sequence[ReportedTrial]) -> list[float]:
    return [t.value for t in trials if t.value is not None]


def _confirm(report: Report) -> str | None:
    """Return the command that shows the noise; None where it was used, and before the study is done."""
    confirmed = report.winner is not None and report.winner.confirmation is not None
    if report.runner_up is None or confirmed or report.study.state != StudyState.DONE:
        return None
    return f"caviar best {report.study.name} --confirm 5"


def _retune(report: Report, suffix: str, option: str) -> str | None:
    """Return the command of a study that begins with these results; None of an objective, whose code has the ranges."""
    name = report.study.name
    if report.study.way is Way.OBJECTIVE:
        return None
    return f"caviar retune {name} --name {name}-{suffix} {option}"
