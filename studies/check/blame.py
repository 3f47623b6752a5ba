"""Say of what a training does not save whether an interrupted trial suffers by it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from caviar.studies.check.probe import Kind, Unsaved
from caviar.studies.findings import Finding, Level

_WHAT = "resuming"


def blame(unsaved: Iterable[Unsaved], message: str) -> Iterator[Finding]:
    """Yield what may be the cause of a difference: what changed in the first epochs.

    The workers of a loader are named if nothing else is left: they may as well draw no random numbers.

    Args:
        message: which difference.
    """
    changed = [each for each in unsaved if each.changes]
    for suspect in [each for each in changed if each.kind is not Kind.WORKERS] or changed:
        place = _place(suspect)
        if suspect.kind is Kind.STATE:
            yield Finding(Level.ERROR, _WHAT, f"{message}: {place} is not in trial.keep()", _how(suspect))
        elif suspect.kind is Kind.GENERATOR:
            yield Finding(
                Level.ERROR, _WHAT, f"{message}: {place} goes on from epoch to epoch, and is not saved",
                "make it anew in each epoch, seeded by the epoch, or draw from torch's own generator",
            )  # fmt: skip
        else:
            yield Finding(
                Level.ERROR, _WHAT, f"{message}: the random numbers of the workers of {place} go on from epoch to "
                "epoch, and are not saved",
                "read it by trial.batches(...), or give it no persistent_workers",
            )  # fmt: skip


def doubt(unsaved: Iterable[Unsaved]) -> Iterator[Finding]:
    """Yield what is not saved and need not show in epoch 2: a schedule may not act before the fifth."""
    for suspect in unsaved:
        if suspect.kind is Kind.STATE:
            message = f"{_place(suspect)} is not in trial.keep(): an interrupted trial would go on with a new one"
            yield Finding(Level.WARNING, _WHAT, f"{message}, though epoch 2 does not show it", _how(suspect))


def _place(unsaved: Unsaved) -> str:
    return f"{unsaved.name} ({unsaved.type}; {unsaved.file}, line {unsaved.line})"


def _how(unsaved: Unsaved) -> str:
    name = re.sub(r"\W+", "_", unsaved.name.rpartition(".")[2]).strip("_")
    return f"add it: trial.keep(..., {name}={unsaved.name})"
