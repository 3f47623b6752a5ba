"""Put a study and its events into words."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from caviar.storage.states import EventKind
from caviar.studies.metric import NO_RESULT
from caviar.studies.results.formatting import number
from caviar.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from caviar.storage.family import Parent
    from caviar.storage.records import EventRecord, OtherTrials
    from caviar.storage.status import Progress
    from caviar.studies.definition import Study
    from caviar.studies.results.report.records import ReportedStudy
    from caviar.studies.results.summaries import StudyStatus


def study_in_words(study: Study | ReportedStudy, budget: int) -> str:
    """Return what a study of so many trials is, and how it searches."""
    of = f" of {study.epochs} epochs" if study.epochs else ""
    return (
        f"{study.subject}: {budget} trials{of} to {study.direction} {study.metric}, {study.strategy}, "
        f"pruner {study.pruner}, seed {study.seed}"
    )


def parent_in_words(parent: Parent) -> str:
    """Return what a study was retuned from, and how it differs."""
    value = f" with {parent.metric} {number(parent.value)}" if parent.value is not None else ""
    gone = "" if parent.is_there else ", which is no longer in the database"
    changes = f"; changed: {'; '.join(parent.changes)}" if parent.changes else ""
    return f"retuned from {parent.study}{gone}, whose trial {parent.trial} won{value}{changes}"


def cohort_sentence(detail: Mapping[str, Any]) -> str:
    """Return a measured cohort size in words; the detail is that of an event `cohort size`."""
    size, why, times = detail["size"], detail.get("why"), detail.get("times_as_fast")
    if size > 1 and why:
        return f"each worker trains at most {size} trials as one program from now on: {why}"
    if size > 1:
        return f"each worker trains up to {size} trials as one program, {times:g} times as fast as one by one"
    return f"each worker trains its trials one by one: {why or f'as one program they would be {times:g} times as fast'}"


def rare_ends(now: Progress | StudyStatus) -> str:
    """Return what else became of trials, to follow a list of counts; empty in most studies."""
    counts = {"abandoned": now.abandoned, "ended by other programs": now.ended_elsewhere}
    counts |= {f"above the bound of {name}": count for name, count in now.violations.items() if name not in NO_RESULT}
    return "".join(f", {count} {what}" for what, count in counts.items() if count)


def others_sentence(others: OtherTrials) -> str:
    """Return in words what other Optuna programs added to a study, and how many trials wait that were enqueued."""
    added, waiting = others.made - others.waiting, others.waiting
    parts = [f"{added} trial{'s' * (added > 1)} of other Optuna programs"] if added else []
    parts += [f"{waiting} enqueued trial{'s' * (waiting > 1)}, which the next slots take"] if waiting else []
    return f"and {'; '.join(parts)}"


def unkept_sentence(reason: str) -> str:
    """Return in words that states of trials are not kept, and what follows from that."""
    return (
        f"states are not kept: an interrupted trial begins again, and the winner is trained once more at the end; "
        f"{one_line(reason)}"
    )


def sentence(event: EventRecord) -> str:
    """Return an event in one sentence."""
    with suppress(KeyError, TypeError, ValueError):  # details that are not Caviar's: anybody may have written them
        if (known := _known_sentence(event)) is not None:
            return known
    about = detail_line(event.detail)
    subject = "" if event.slot is None else f"trial {event.slot}: "
    return f"{subject}{event.kind}" + (f", {about}" if about else "")


def _known_sentence(event: EventRecord) -> str | None:
    detail = event.detail
    if event.kind == EventKind.COHORT_SIZE:
        return cohort_sentence(detail)
    if event.kind == EventKind.CREATED:
        by = f", by {detail['by']}" if "by" in detail else ""  # an older Caviar did not record it
        trials = f"{detail['budget']} trial{'s' * (detail['budget'] != 1)}"
        return f"the study begins, with a budget of {trials}{by}"
    if event.kind == EventKind.FREED:
        leave = "1 worker leaves" if detail["workers"] == 1 else f"{detail['workers']} workers leave"
        return f"{detail['by']} frees {detail['host_or_job']}: {leave} after the epoch"
    if event.kind == EventKind.ENDED_EARLY:
        return f"the study ends after {detail['budget']} of {detail['before']} trials: {detail['why']}"
    if event.kind == EventKind.RETUNED:
        return f"it begins with what '{detail['of']}' knew, whose trial {detail['trial']} won"
    if event.kind == EventKind.LEASE_EXPIRED:
        return f"trial {event.slot} was lost after epoch {detail['epoch']}: its worker was not heard of"
    if event.kind == EventKind.WORKER_DIED:
        why = f" ({detail['why']})" if "why" in detail else ""
        return f"trial {event.slot} was lost after epoch {detail['epoch']}: its worker died{why}"
    return None


def detail_in_words(event: EventRecord) -> str:
    """Return what an event's kind and trial do not say."""
    from caviar.storage.family import parent_of  # which loads SQLAlchemy: the help of a command needs this module, too

    with suppress(KeyError, TypeError, ValueError):  # as in `sentence`
        if event.kind == EventKind.COHORT_SIZE:
            return cohort_sentence(event.detail)
        if event.kind == EventKind.RETUNED and (parent := parent_of(event.detail)) is not None:
            return parent_in_words(parent).removeprefix(f"{event.kind} ")
    return detail_line(event.detail)


def detail_line(detail: Any) -> str:
    """Return an event's detail in one line, without what has many: --json shows the traceback and the output, too."""
    parts = {key: "; ".join(map(number, value)) if isinstance(value, list) else number(value)
             for key, value in detail.items() if value is not False}  # fmt: skip
    return ", ".join(f"{key} {value}" for key, value in parts.items() if key not in ("traceback", "output"))
