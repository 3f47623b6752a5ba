"""Compare what the ranks of a trial report: that of rank 0 counts, and a number of its share of the data looks like any
other."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from caviar.studies.findings import Finding, Level
from caviar.studies.workers.user.rank_reports import RankReport

_CLOSE = 1e-5  # relative: GPUs may add up in another order; the shares of two ranks differ by more
_WHAT = "the ranks"

Reports = Mapping[int, RankReport]  # of one epoch, by rank


def compare_ranks(epochs: Sequence[Reports], needed: Collection[str]) -> Iterator[Finding]:
    """Yield what is wrong with the reports of the ranks in some epochs, which begin with the first.

    Args:
        needed: metrics without which a trial has no result.
    """
    yield from _missing_in_first(epochs, needed)
    for epoch, reports in enumerate(epochs, 1):
        different = list(_different(epoch, reports))
        if different:
            yield from different
            return  # the later epochs say the same


def _missing_in_first(epochs: Sequence[Reports], needed: Collection[str]) -> Iterator[Finding]:
    """Name each metric that rank 0 reports in no epoch, and another one does."""
    seen = {name for reports in epochs if 0 in reports for name in reports[0].metrics}
    for reports in epochs:
        for rank, report in sorted(reports.items()):
            for name in report.metrics:
                if name not in seen:
                    seen.add(name)
                    yield Finding(
                        Level.ERROR if name in needed else Level.WARNING, _WHAT,
                        f"rank {rank} reports {name} ({report.places[name]}), "
                        "and rank 0, whose report counts, never does",
                        "call trial.report(...) in all ranks, or in rank 0",
                    )  # fmt: skip


def _different(epoch: int, reports: Reports) -> Iterator[Finding]:
    """Name each rank that reports other numbers than rank 0."""
    first = reports[0].metrics
    for rank, report in sorted(reports.items()):
        names = [name for name, value in report.metrics.items() if name in first and not _equal(value, first[name])]
        if names:
            name, *others = names
            more = f"; so it does with {' and '.join(others)}" if others else ""
            yield Finding(
                Level.WARNING, _WHAT,
                f"in epoch {epoch} rank {rank} reports {name} {report.metrics[name]:.6g} ({report.places[name]}), and "
                f"rank 0, whose report counts, {first[name]:.6g}: it may be of rank 0's share of the data alone{more}",
                "reduce it before, as by torch.distributed.all_reduce, or report it in rank 0 alone",
            )  # fmt: skip


def _equal(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_CLOSE) or (math.isnan(one) and math.isnan(other))
