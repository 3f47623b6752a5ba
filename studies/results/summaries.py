"""What there is to say about a study, as plain JSON values: the same for `--json` and for the terminal.

Numbers that JSON cannot hold (a loss that diverged) are None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from caviar.epoch import Epoch
from caviar.storage.records import Progress, StudyRecord, TrialRecord
from caviar.studies.definition import Study
from caviar.studies.search.plan import plan

if TYPE_CHECKING:
    from caviar.studies.search.expectation import Expected


def state_of(progress: Progress) -> str:
    """Return `done`, `paused`, `stopped`, `running` (somebody works on it) or `waiting` (for a worker)."""
    if progress.open + progress.leased == 0:
        return "done"
    if progress.control != "run":
        return {"pause": "paused", "stop": "stopped"}[progress.control]
    return "running" if progress.leased else "waiting"


def status_facts(record: StudyRecord, study: Study, progress: Progress) -> dict[str, Any]:
    """Return how far a study is."""
    best = progress.best
    return {
        "name": record.name,
        "state": state_of(progress),
        "strategy": study.strategy,
        "seed": study.seed,
        "budget": progress.budget,
        "open": progress.open,
        "leased": progress.leased,
        "complete": progress.complete,
        "pruned": progress.pruned,
        "failed": progress.failed,
        "abandoned": progress.abandoned,
        "diverged": progress.diverged,
        "best": best and {
            "value": best.value,
            "trial": best.slot.number,
            "hyperparameters": study.values(best.parameters),
        },
        "tiers": [
            {"tier": p.tier, "phase": p.phase, "slots": p.slots, "done": p.done, "best": p.best}
            for p in progress.phases
        ],
        "epochs": {"trained": progress.epochs_trained, "planned": progress.budget * study.epochs},
        "workers": progress.workers,
        "running": [
            {"trial": r.number, "tier": r.tier, "phase": r.phase, "epoch": r.epoch, "value": r.value,
             "worker": f"{r.host}:{r.pid}"}
            for r in progress.running
        ],
    }  # fmt: skip


def best_facts(
    study: Study,
    best: TrialRecord,
    expected: Expected,
    curve: Sequence[Epoch],
    test: tuple[float, float] | None,
    confirmation: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the winner. `test` is (loss, accuracy), and None as long as it was not measured; `confirmation` what
    caviar.studies.results.confirmation found, and None as long as it was not asked for."""
    last = curve[-1]
    return {
        "study": study.name,
        "trial": best.slot.number,
        "tier": best.slot.tier,
        "phase": best.slot.phase,
        "value": best.value,
        "expected": None
        if expected.value is None
        else {"value": expected.value, "low": expected.low, "high": expected.high},
        "hyperparameters": {**study.fixed, **study.values(best.parameters)},
        "validation": {"accuracy": last.accuracy, "loss": last.validation_loss},
        "test": test and {"accuracy": test[1], "loss": test[0]},
        "confirmation": confirmation,
        "epochs": best.epoch,
        "curve": [{name: _finite(value) for name, value in vars(epoch).items()} for epoch in curve],
    }


def trial_facts(study: Study, trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Return one entry for each slot, by number."""
    return [
        {
            "trial": t.slot.number,
            "tier": t.slot.tier,
            "phase": t.slot.phase,
            "state": t.state,
            "value": t.value,
            "violated": t.violated,
            "epochs": t.epoch,
            "seconds": round(t.seconds, 3),
            "attempts": t.attempts,
            "worker": t.attributes.get("worker"),
            "why_it_stopped": t.attributes.get("why it stopped"),
            "hyperparameters": study.values(t.parameters),
        }
        for t in trials
    ]


def plan_facts(study: Study) -> dict[str, Any]:
    """Return a study's definition and its table of slots, before anything runs."""
    return {
        "name": study.name,
        "strategy": study.strategy,
        "model": study.model,
        "data": study.data,
        "metric": study.metric,
        "direction": study.direction,
        "fixed": dict(study.fixed),
        "budget": study.budget,
        "epochs": study.epochs,
        "hyperparameters": [
            {"name": name, "tier": tier, "scale": str(scale), **scale.model_dump(mode="json")}
            for name, tier, scale in study.hyperparameters()
        ],
        "slots": [{"slot": s.number, "tier": s.tier, "phase": s.phase, "free": list(s.free)} for s in plan(study)],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
