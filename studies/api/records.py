"""Frozen records that only library calls return; those of results stand in results/."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from caviar.storage.records import DefinitionRecord, EventRecord
from caviar.studies.results.summaries import TrialSummary


@dataclass(frozen=True)
class LearningCurve:
    """The learning curve of a trial that has ended.

    Attributes:
        metric: the name of what is drawn, such as `accuracy`.
        maximize: whether its higher values are the better ones, or else its lower ones.
        values: the metric after each epoch; None where it was not measured.
    """

    trial: TrialSummary
    metric: str
    maximize: bool
    values: tuple[float | None, ...]

    @property
    def finite_values(self) -> list[float]:
        """The values that can be drawn: those that were measured and are finite."""
        return [value for value in self.values if value is not None and math.isfinite(value)]

    def json_fields(self) -> dict[str, Any]:
        """Return the fields of its JSON document."""
        return {"trial": self.trial.trial, "metric": self.metric, "curve": self.values}


@dataclass(frozen=True)
class History:
    """The versions of a study's definition and its events, the oldest first."""

    versions: tuple[DefinitionRecord, ...]
    events: tuple[EventRecord, ...]

    def json_fields(self) -> dict[str, Any]:
        """Return the fields of its JSON document."""
        return {
            "versions": [
                {"version": v.version, "at": v.created_at, "changes": v.changes, "definition": v.body,
                 **vars(v.provenance)}
                for v in self.versions
            ],
            "events": [{"at": e.at, "kind": e.kind, "trial": e.slot, "detail": e.detail} for e in self.events],
        }  # fmt: skip
