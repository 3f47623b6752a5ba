"""Put a comparison into words: the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caviar.studies.results.compare.records import ComparedStudy, ComparedWinner, Place, Spent, StudyComparison
from caviar.studies.results.formatting import alike, duration, number, told_apart


def columns(of: StudyComparison) -> list[str]:
    """Return the heads of the table of studies."""
    common = [f"to reach {number(of.common)}"] if of.common is not None else []
    tested = ["test"] if any(study.winner and study.winner.test is not None for study in of.studies) else []
    return ["study", "winner", of.metric, "mean of trainings", *tested, "cost", *common]


def row(of: StudyComparison, study: ComparedStudy) -> list[str]:
    """Return the cells of a study's row."""
    winner, heads = study.winner, columns(of)
    cells = {
        "study": study.name, "winner": "-" if winner is None else f"trial {winner.trial}",
        of.metric: "-" if winner is None else number(winner.value),
        "mean of trainings": "-" if winner is None else mean(winner),
        "test": number(winner.test if winner else None), "cost": spent(study.total),
    }  # fmt: skip
    if of.common is not None:
        cells[heads[-1]] = "never" if study.to_common is None else spent(study.to_common)
    return [cells[head] for head in heads]


def mean(winner: ComparedWinner) -> str:
    """Return the mean of many trainings with its interval."""
    of = winner.mean
    if of.low is None or of.high is None:
        return "not known"
    sure = "95 %" if of.is_measured else "90 %"
    return f"{number(of.value)} ({' to '.join(told_apart(of.low, of.high))}, {sure})"


def spent(cost: Spent) -> str:
    """Return a cost: trials, and the time of devices."""
    return f"{cost.trials} trial{'s' * (cost.trials != 1)}, {duration(cost.device_seconds)}"


def verdicts(of: StudyComparison) -> Iterator[str]:
    """Yield a sentence on each winner beside the best one, and then the remarks."""
    lead = next((study for study in of.studies if study.winner and study.winner.place is Place.LEADS), None)
    if lead is not None and lead.winner is not None:
        yield _first(lead.name, lead.winner, [s.winner.place for s in of.studies if s.winner and s is not lead])
    for study in of.studies:
        winner = study.winner
        if winner is None:
            yield f"{study.name} has no winner yet."
        elif lead is not None and study is not lead:
            yield f"{study.name}'s winner is {_beside(winner, lead)}."
    yield from of.remarks


def _first(name: str, winner: ComparedWinner, others: Sequence[Place]) -> str:
    """Say what the best winner came to, and whether it is ahead: not where another one may be as good."""
    if not others:
        return f"{name}'s winner {_comes_to(winner)}."
    if all(place is Place.BEHIND for place in others):
        return f"{name} is ahead: its winner {_comes_to(winner)}."
    return f"Who is ahead cannot be told yet: the best mean is that of {name}'s winner, which {_comes_to(winner)}."


def _comes_to(winner: ComparedWinner) -> str:
    of = winner.mean
    if of.low is None:
        return f"came to {number(of.value)}"
    return f"{'came' if of.is_measured else 'is expected to come'} to {number(of.value)} on average"


def names_of(of: StudyComparison) -> str:
    """Return the names of the studies, as a person lists them."""
    *others, last = (study.name for study in of.studies)
    return f"{', '.join(others)} and {last}"


def _beside(winner: ComparedWinner, lead: ComparedStudy) -> str:
    by = f"{alike(winner.behind)[0]} behind {lead.name}'s" if winner.behind else f"as good as {lead.name}'s"
    how = "measured" if winner.mean.is_measured else "expected to be" if winner.mean.low is not None else ""
    both = winner.mean.is_measured and lead.winner is not None and lead.winner.mean.is_measured
    said = {
        Place.WITHIN: f", which may be luck: {'the noise explains it' if both else 'their intervals overlap'}",
        Place.BEHIND: f", more than {'the noise of fresh trainings' if both else 'luck: their intervals are apart'}",
        Place.OPEN: " by one training of each, which may be luck",
    }
    return f"{how} {by}{said.get(winner.place, '')}".strip()
