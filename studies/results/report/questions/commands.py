"""The commands that follow from an answer."""

from __future__ import annotations

from caviar.studies.results.next_steps import confirm_command, new_study
from caviar.studies.results.report.records import Report
from caviar.studies.results.summaries import StudyState
from caviar.studies.way import Way


def confirm(report: Report) -> str | None:
    """Return the command that shows the noise; None where it was used, and before the study is done."""
    confirmed = report.winner is not None and report.winner.confirmation is not None
    if report.runner_up is None or confirmed or report.study.state != StudyState.DONE:
        return None
    return confirm_command(report.study.name)


def retune(report: Report, suffix: str, option: str) -> str | None:
    """Return the command of a study that begins with these results, or of what comes after it where it was begun; None
    of an objective, whose code has the ranges."""
    name = report.study.name
    if report.study.way is Way.OBJECTIVE:
        return None
    new = f"{name}-{suffix}"
    return new_study(new, f"caviar retune {name} --name {new} {option}", name, report.beside)
