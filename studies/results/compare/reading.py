"""Read what is compared from the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from caviar.storage.pandas import is_panda
from caviar.storage.records import StudyRecord
from caviar.storage.states import TrialState
from caviar.studies.errors import OptionError
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.compare.differences import differences
from caviar.studies.results.compare.records import (
    BestAt,
    ComparedStudy,
    ComparedWinner,
    Difference,
    Place,
    Spent,
    StudyComparison,
    WinnerMean,
)
from caviar.studies.results.confirmation import mean_of, welch
from caviar.studies.results.formatting import finite
from caviar.studies.results.report.device_time import DeviceClock
from caviar.studies.results.report.holdings import holdings
from caviar.studies.results.report.reading import read_facts
from caviar.studies.results.report.records import Report
from caviar.studies.results.winner import Winner, standings


def read_comparison(engine: Engine, records: Sequence[StudyRecord]) -> StudyComparison:
    """Return the comparison of two studies or more.

    Raises:
        OptionError: there are fewer than two, one stands twice, one is a panda, or they have no metric in common.
    """
    _check(engine, records)
    reports = [read_facts(engine, record, standings(engine, record), curves_of=()) for record in records]
    studies = [definition_of(record) for record in records]
    differ = differences(records, studies)
    first = reports[0].study
    best = [_best(report) for report in reports]
    ends = [each[-1].value for each in best if each]
    common = (min if first.maximize else max)(ends) if len(ends) == len(best) else None
    winners = _winners(reports)
    compared = tuple(
        ComparedStudy(
            report.study.name, report.study.subject, report.study.state, report.study.budget, winner,
            _total(report), report.cost.devices, each,
            _reached(each, common, maximize=first.maximize),
        )
        for report, winner, each in zip(reports, winners, best, strict=True)
    )  # fmt: skip
    return StudyComparison(
        first.metric, first.direction, compared, common, differ, tuple(_remarks(reports, compared, differ))
    )


def _check(engine: Engine, records: Sequence[StudyRecord]) -> None:
    names = [record.name for record in records]
    if len(names) < 2:
        raise OptionError(f"a comparison takes two studies or more: caviar compare {' '.join(names)} OTHER")
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"'{name}' stands twice: name each study once")
    for record in records:
        if is_panda(engine, record.study_id):
            raise OptionError(
                f"'{record.name}' is a panda, one model that is trained day by day, and has no winner to compare; see "
                f"its days with: caviar panda log {record.name}"
            )
    goals = {record.name: f"{(study := definition_of(record)).direction}s {study.metric}" for record in records}
    if len(set(goals.values())) > 1:
        said = ", ".join(f"'{name}' {goal}" for name, goal in goals.items())
        raise OptionError(f"{said}: compare studies of one metric and direction")


def _best(report: Report) -> tuple[BestAt, ...]:
    """Return the best value of complete, sound trials whenever it became better, and at the end."""
    better = max if report.study.maximize else min
    clock = DeviceClock(holdings(report.trials, report.events, report.now), report.devices)
    ended = sorted((t for t in report.trials if t.ended is not None), key=lambda t: (t.ended or 0.0, t.trial))
    best, epochs, found = None, 0, list[BestAt]()
    for count, t in enumerate(ended, start=1):
        epochs += t.epochs
        value = t.value if t.state == TrialState.COMPLETE and t.is_sound else None
        now = best if value is None else value if best is None else better(best, value)
        if now is not None and (now != best or count == len(ended)):
            seconds = t.ended or 0.0
            devices = sum(device.seconds for device in clock.until(seconds))
            found.append(BestAt(count, epochs, seconds, round(devices, 1), now))
        best = now
    return tuple(found)


def _total(report: Report) -> Spent:
    cost = report.cost
    return Spent(cost.done, cost.epochs, cost.wall_seconds, round(sum(device.seconds for device in cost.devices), 1))


def _reached(best: Sequence[BestAt], common: float | None, *, maximize: bool) -> Spent | None:
    """Return what had been spent when a value as good as the common one was there."""
    if common is None:
        return None
    reached = (at for at in best if (at.value >= common if maximize else at.value <= common))
    return next((Spent(at.trials, at.epochs, at.seconds, at.device_seconds) for at in reached), None)


def _winners(reports: Sequence[Report]) -> list[ComparedWinner | None]:
    means = [None if report.winner is None else _mean(report.winner) for report in reports]
    sign = 1 if reports[0].study.maximize else -1
    lead = max((mean for mean in means if mean is not None), key=lambda mean: sign * mean.value, default=None)
    leader = None if lead is None else reports[means.index(lead)].winner
    found = list[ComparedWinner | None]()
    for report, mean in zip(reports, means, strict=True):
        winner = report.winner
        if winner is None or mean is None or lead is None or leader is None or winner.value is None:
            found.append(None)
            continue
        place = Place.LEADS if winner is leader else _place(mean, lead, winner, leader)
        behind = sign * (lead.value - mean.value)
        test = None if winner.test is None else winner.test.get(winner.metric)
        found.append(
            ComparedWinner(winner.trial, winner.value, mean, place, behind, test, winner.gain, winner.is_final)
        )
    return found


def _mean(winner: Winner) -> WinnerMean | None:
    """Return the mean of a winner; None where its value is no finite number, as may be that of an objective."""
    if (value := finite(winner.value)) is None:
        return None
    if winner.confirmation is not None:
        return WinnerMean(*mean_of(winner.confirmation.winner_values), is_measured=True)
    if winner.expected is not None:
        return WinnerMean(winner.expected.value, winner.expected.low, winner.expected.high, is_measured=False)
    return WinnerMean(value, None, None, is_measured=False)


def _place(mean: WinnerMean, lead: WinnerMean, winner: Winner, leader: Winner) -> Place:
    """Return whether a winner is behind the best one by more than luck: by their fresh trainings, where both have
    some, or where their intervals do not overlap."""
    if winner.confirmation is not None and leader.confirmation is not None:
        _, low, high = welch(leader.confirmation.winner_values, winner.confirmation.winner_values)
        if low is None or high is None:
            return Place.OPEN
        return Place.WITHIN if low <= 0 <= high else Place.BEHIND
    if mean.low is None or mean.high is None or lead.low is None or lead.high is None:
        return Place.OPEN
    return Place.WITHIN if mean.low <= lead.high and lead.low <= mean.high else Place.BEHIND


def _remarks(reports: Sequence[Report], compared: Sequence[ComparedStudy], differ: Sequence[Difference]) -> list[str]:
    """Return what makes the figures less comparable than they look."""
    what = {difference.what for difference in differ}
    remarks = []
    if {"data", "digest of the data"} & what:
        remarks.append("The data differ: a value of one study is no better or worse than that of another by itself.")
    if "epochs" in what:
        remarks.append("Trials of different lengths cost differently: compare the time, not the number of trials.")
    if len({tuple(device.kind for device in study.devices) for study in compared if study.devices}) > 1:
        remarks.append("The studies ran on different kinds of devices, whose times are not the same.")
    if unfinished := [study.name for study in compared if study.state != "done"]:
        remarks.append(f"Not done yet: {', '.join(unfinished)}.")
    if any(report.study.prior for report in reports):
        names = ", ".join(report.study.name for report in reports if report.study.prior)
        remarks.append(f"Begun with what an earlier study knew, whose cost is not counted: {names}.")
    return remarks
