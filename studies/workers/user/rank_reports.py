"""What the ranks of a trial report: that of rank 0 counts, and that of the others shows where the code goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from caviar.studies.workers.user.rank_failures import RanksMisused


@dataclass(frozen=True)
class RankReport:
    """What one rank reported in an epoch.

    Attributes:
        places: where it reported each metric, by name, as `tune.py:12`.
    """

    metrics: Mapping[str, float]
    places: Mapping[str, str]


def nothing_reported(epoch: int, reports: Mapping[int, RankReport]) -> RanksMisused:
    """Return the error of an epoch in which rank 0 reported nothing, with a rank that did, if there is one.

    Args:
        reports: of that epoch, by rank.
    """
    for rank, report in sorted(reports.items()):
        for name, place in report.places.items():
            return RanksMisused(
                f"rank {rank} reported {name} in epoch {epoch}, and rank 0, whose report counts, nothing; "
                "call trial.report(...) in all ranks, or in rank 0",
                place,
            )
    return RanksMisused(f"epoch {epoch} reported nothing; call trial.report(...) in each epoch")
